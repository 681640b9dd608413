# SPDX-License-Identifier: MIT
"""One rescue over SSH: look, build, copy, run, clean up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.features.rescue.package import PROGRAM, headers_kernel, place_program
from kmod_harness.run.targets import Choice, open_target
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.address import parse_address

RESCUE_SECONDS = 600.0  # a scan of much memory, on a slow board


@dataclass(frozen=True)
class Request:
    """What the user asked for. UsageError for what cannot be, before the board is troubled."""

    board: Choice
    name: str  # of the stuck module
    flags: tuple[str, ...] = ()  # for the program: --explain, --force, --keep, --json
    kernel: str = ""  # spec; "": found out
    kdir: str = ""  # build tree; "": none

    def __post_init__(self) -> None:
        parse_address(self.board.host)
        if self.kernel and self.kdir:
            raise UsageError("--kernel and --kdir: want one of them")
        if self.kdir:
            headers_kernel(Path(self.kdir))


def rescue(request: Request, workbench: Workbench, out: TextIO) -> Exit:
    """Take a module out of the kernel of a board; prints what the program there says.

    Returns the program's exit code. Raises HarnessError when it could not even be asked.
    """
    with open_target(request.board, workbench) as (target, _):
        target.check_root()
        workbench.progress.note(f"{request.board.host}: Linux {target.facts.release}, {target.facts.arch}")
        program = place_program(target, workbench, request.kernel, request.kdir)
        result = target.run(
            program, *request.flags, "--", request.name, root=True, seconds=RESCUE_SECONDS, check=False
        )
    print(result.output, end="", file=out)
    if result.returncode not in set(Exit):
        raise HarnessError(f"{PROGRAM} on the board ended with exit code {result.returncode}")
    return Exit(result.returncode)
