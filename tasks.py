# SPDX-License-Identifier: MIT
"""`invoke` finds the commands of the harness here."""

from invoke.main import program

from kmod_harness.front.commandline import HarnessProgram
from kmod_harness.front.tasks import namespace

__all__ = ["namespace"]

# The program that reads this: its own exit code for wrong usage is 1, which here says "a check failed".
program.__class__ = HarnessProgram
