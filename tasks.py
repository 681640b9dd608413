# SPDX-License-Identifier: MIT
"""`invoke` finds the commands of the harness here."""

from harness.tasks import namespace

__all__ = ["namespace"]
