# SPDX-License-Identifier: MIT
"""Other people's modules: every NAME-dkms package of a Debian release, built by us and by dkms itself.

    python -m benchmarks.field_trial --release bookworm --kernel 6.1 --table docs/field-trial.md [NAME...]

dkms(8) runs with the same toolchain, in a sandbox of its own. The table has a row a package; what is there
already for other packages stays. Exit code 1 when dkms builds something that we do not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Failure
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.attempt import WITHOUT_BTF
from kmod_harness.kbuild.dkms import DKMS_CONF, DKMS_TREE, field_of
from kmod_harness.kbuild.make import Build, build_all
from kmod_harness.kbuild.sandbox import Mount, View
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kernels.dkms_packages import dkms_folders, dkms_packages, fetch_dkms, tools_of
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.resolve import resolve_kernel
from kmod_harness.module.module import DEBIAN, resolve_module
from kmod_harness.report.progress import open_progress

DKMS_SECONDS = 1800.0
HEAD = (
    "<!-- SPDX-License-Identifier: MIT -->\n"
    "# Debian's own packages of module sources\n\n"
    "Made by `make field-trial`. One row a package, kernel and release: what became of it here, and what\n"
    "`dkms build` says with the same compiler.\n\n"
    "| release | kernel | package | here | dkms | why |\n| --- | --- | --- | --- | --- | --- |\n"
)
EXCLUDED = "not for this kernel"


@dataclass(frozen=True)
class Trial:
    """One package on one kernel."""

    release: str
    kernel: str
    package: str
    ours: str
    theirs: str
    why: str = ""  # of our failure, in a line

    @property
    def row(self) -> str:
        """Of the table."""
        cells = (self.release, self.kernel, self.package, self.ours, self.theirs, self.why.replace("|", "/"))
        return f"| {' | '.join(cells)} |"

    @property
    def worse(self) -> bool:
        """Whether dkms does what we do not."""
        return self.theirs.startswith("built") and not self.ours.startswith("built")


def try_package(name: str, release: str, kernel: Kernel, settings: Settings, progress: Progress) -> Trial:
    """Build it both ways."""
    root = fetch_dkms(name, release, settings, progress)
    folders = dkms_folders(root)
    if not folders:
        return Trial(release, kernel.release, name, "no sources", "no sources")
    (build,) = build_all([(resolve_module(f"{DEBIAN}{name}"), kernel)], settings, progress)
    theirs = dkms_build(folders[0], tools_of(root), kernel, settings, progress)
    why = build.problems[0] if build.problems else ""
    return Trial(release, kernel.release, name, _in_words(build), theirs, _short(why, root))


def _in_words(build: Build) -> str:
    if build.objects:
        return f"built {len(build.objects)} .ko"
    return EXCLUDED if build.state == "excluded" else build.state


def _short(text: str, root: Path) -> str:
    return text.replace(f"{root}/usr/src/", "")[:120]


def dkms_build(
    folder: Path, tools: Sequence[str], kernel: Kernel, settings: Settings, progress: Progress
) -> str:
    """What dkms makes of a source folder, in words."""
    toolchain = resolve_toolchain(kernel, settings, progress, ("dkms", *tools))
    text = (folder / DKMS_CONF).read_text(encoding="utf-8", errors="replace")
    name, version = (field_of(text, f"PACKAGE_{what}") for what in ("NAME", "VERSION"))
    if not (name and version):
        return "unknown"
    source = Mount(Path("/usr/src") / f"{name}-{version}", folder)
    flags = {"MAKEFLAGS": WITHOUT_BTF}
    view = View((Mount(DKMS_TREE, None), source), environment=flags, cwd=Path("/tmp"))  # noqa: S108
    command = ("dkms", "build", "-m", name, "-v", version, "-k", kernel.release, "-a", kernel.arch)
    bwrap, *rest = toolchain.argv(command, view)
    with progress.task(f"dkms build of {name}"):
        done = process.run(
            [bwrap, "--uid", "0", "--gid", "0", *rest],
            deadline=Deadline(DKMS_SECONDS, f"dkms build {name}"),
            check=False,
        )
    if done.returncode == 0:
        return "built"
    excluded = "BUILD_EXCLUSIVE" in done.output or done.returncode == 77
    return EXCLUDED if excluded else f"failed ({done.returncode})"


def write_table(path: Path, trials: Sequence[Trial]) -> None:
    """Add the rows to the table; those of the same package, kernel series and release are replaced."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows = {_key(line): line for line in old.splitlines() if re.match(r"\| (?!release|---)", line)}
    rows |= {_key(trial.row): trial.row for trial in trials}
    path.write_text(HEAD + "".join(f"{rows[key]}\n" for key in sorted(rows)), encoding="utf-8")


def _key(row: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in row.split("|")[1:4])


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--release", default="bookworm", help="of Debian (default bookworm)")
    parser.add_argument("--kernel", default="6.1", help="as for kmod-harness (default 6.1)")
    parser.add_argument("--table", type=Path, default=Path("docs/field-trial.md"), help="file to update")
    parser.add_argument("names", nargs="*", help="packages, without -dkms (default: all)")
    given = parser.parse_args()
    settings = Settings()
    worse = 0
    with open_progress(sys.stderr) as progress:
        kernel = resolve_kernel(given.kernel, settings, progress)
        for name in given.names or dkms_packages(given.release, settings, progress):
            try:
                trial = try_package(name, given.release, kernel, settings, progress)
            except Failure as error:
                trial = Trial(given.release, kernel.release, name, "no verdict", "-", error.message)
            print(trial.row, flush=True)
            worse += trial.worse
            write_table(given.table, [trial])
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
