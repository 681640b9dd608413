# SPDX-License-Identifier: MIT
"""`invoke` finds the commands of the harness here."""

from kmod_harness.front.tasks import namespace

__all__ = ["namespace"]
