# SPDX-License-Identifier: MIT
"""One command in a fresh machine, as a process of its own: what `vng --exec` is, with this harness.

python -m benchmarks.once [--cold] [--module NAME] KERNEL [COMMAND [ARGUMENT...]]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from kmod_harness.base.errors import Failure
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.module.module import resolve_module
from kmod_harness.run.fleet import MachineOptions
from kmod_harness.run.workbench import Options, Workbench


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when the command or the module failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.once", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--cold", action="store_true", help="boot instead of cloning")
    parser.add_argument("--module", help="load and unload this one first")
    parser.add_argument("kernel")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    options = Options(MachineOptions(cold=chosen.cold))
    with contextlib.closing(Workbench(Settings(), Silent(), options)) as workbench:
        kernel = workbench.kernel(chosen.kernel)
        ko = workbench.build([(resolve_module(chosen.module), kernel)])[0].objects[0] if chosen.module else None
        with workbench.fleet.machine(kernel, "once") as (_, guest):
            if ko is not None:
                outcomes = (guest.load(guest.put(ko)), guest.unload(ko.stem))
                print(*outcomes)
                if outcomes != ("ok", "ok"):
                    return 1
            if chosen.command:
                result = guest.run(*chosen.command)
                print(result.output, end="")
                return min(1, abs(result.returncode))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
