# SPDX-License-Identifier: MIT
"""One rescue over SSH: look, build, copy, run, clean up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.features.rescue.package import PROGRAM, headers_kernel, place_program
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.address import Address
from kmod_harness.target.board import open_board
from kmod_harness.target.connection import connect_board

CONNECT_SECONDS = 30.0
RESCUE_SECONDS = 600.0  # a scan of much memory, on a slow board


@dataclass(frozen=True)
class Request:
    """What the user asked for. UsageError for what cannot be, before the board is troubled."""

    address: Address
    name: str  # of the stuck module
    flags: tuple[str, ...] = ()  # for the program: --explain, --force, --keep, --json
    kernel: str = ""  # spec; "": found out
    kdir: str = ""  # build tree; "": none
    identity: Path | None = None  # private key
    known_hosts: Path | None = None

    def __post_init__(self) -> None:
        if self.kernel and self.kdir:
            raise UsageError("--kernel and --kdir: want one of them")
        if self.kdir:
            headers_kernel(Path(self.kdir))


def rescue(request: Request, workbench: Workbench, out: TextIO) -> Exit:
    """Take a module out of the kernel of a board; prints what the program there says.

    Returns the program's exit code. Raises HarnessError when it could not even be asked.
    """
    deadline = Deadline(CONNECT_SECONDS, f"connect to {request.address}")
    with (
        connect_board(
            request.address,
            identity=request.identity,
            known_hosts=request.known_hosts,
            deadline=deadline,
        ) as runner,
        open_board(runner) as board,
    ):
        workbench.progress.note(f"{request.address}: Linux {board.facts.release}, {board.facts.arch}")
        program = place_program(board, workbench, request.kernel, request.kdir)
        result = board.run_as_root(program, *request.flags, "--", request.name, seconds=RESCUE_SECONDS)
    print(result.output, end="", file=out)
    if result.returncode not in set(Exit):
        raise HarnessError(f"{PROGRAM} on the board ended with exit code {result.returncode}")
    return Exit(result.returncode)
