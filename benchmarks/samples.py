# SPDX-License-Identifier: MIT
"""The kernel's own sample modules, as Debian's linux-source package has them, built, loaded and judged.

    python -m benchmarks.samples --kernel 6.12 [SAMPLE...]

SAMPLE: a folder of the kernel's samples/. Exit code as that of vm-test.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.debian import debian_release_of
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.packages import unpack_packages
from kmod_harness.kernels.resolve import resolve_kernel
from kmod_harness.report.progress import open_progress

SAMPLES = (
    "kobject",
    "kprobes",
    "trace_events",
    "configfs",
    "kfifo",
    "hw_breakpoint",
)  # vfs/ holds programs only
UNPACK_SECONDS = 600.0


def unpack_samples(kernel: Kernel, settings: Settings, progress: Progress) -> Path:
    """The folder samples/ of the kernel's series."""
    found = re.match(r"\d+\.\d+", kernel.release)
    release = debian_release_of(kernel, settings)
    if found is None or release is None:
        raise UsageError(f"{kernel.spec} is not Debian's: it has no linux-source package")
    name = f"linux-source-{found.group()}"
    target = settings.cache / "samples" / name
    if not target.is_dir():
        root = unpack_packages(release, [name], settings, progress)
        with progress.task(f"samples of {name}"), store.publishing(target) as part:
            archive = root / "usr" / "src" / f"{name}.tar.xz"
            argv = [
                "tar",
                "xJf",
                str(archive),
                f"--directory={part}",
                "--strip-components=2",
                f"{name}/samples",
            ]
            process.run(argv, deadline=Deadline(UNPACK_SECONDS, f"unpack {archive.name}"))
    return target


def samples_argv(folder: Path, names: Sequence[str], kernel: str) -> list[str]:
    """The command that tries them."""
    program = Path(sys.executable).with_name("kmod-harness")
    modules = [word for name in names for word in ("--module", str(folder / name))]
    return [str(program), "vm-test", *modules, "--all", "--kernel", kernel]


def main() -> int:
    """Try the samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kernel", default="6.12", help="as for kmod-harness (default 6.12)")
    parser.add_argument("names", nargs="*", help=f"folders of samples/ (default: {', '.join(SAMPLES)})")
    given = parser.parse_args()
    settings = Settings()
    with open_progress(sys.stderr) as progress:
        kernel = resolve_kernel(given.kernel, settings, progress)
        folder = unpack_samples(kernel, settings, progress)
    return subprocess.run(samples_argv(folder, given.names or SAMPLES, given.kernel), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
