# SPDX-License-Identifier: MIT
"""One way to build a module, tried in the sandbox and judged strictly."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import DeadlineError, HarnessError
from kmod_harness.kbuild import advice, dkms, output
from kmod_harness.kbuild.artefacts import Request
from kmod_harness.kbuild.objects import object_problems
from kmod_harness.kbuild.sandbox import Mount, View
from kmod_harness.kbuild.shell import JOBS, NOT_DONE_MARK, PARALLEL, SOURCES, tree_link
from kmod_harness.kbuild.surroundings import Surroundings
from kmod_harness.kbuild.toolchain import compiler_arguments
from kmod_harness.kbuild.ways import Folder, Key
from kmod_harness.kbuild.workcopy import WorkCopy
from kmod_harness.kernels.arch import ARCHES

MAKE_SECONDS = 900.0
READ_SECONDS = 30.0  # for dkms.conf
MAX_LINES = 400_000  # of output; more is a loop
MAX_PROCESSES = 4096  # a Makefile that calls itself for ever ends here
# pahole may be older than the kernel's and fail; modules load without BTF.
WITHOUT_BTF = "CONFIG_DEBUG_INFO_BTF_MODULES="
_DKMS_PLACE = re.compile(r"/var/lib/dkms/[^/\s]+/[^/\s]+/build\b")
OTHERS_MARK = "kmod-harness: but for others: "
# What a failed build says when it wants to write beside the module's folder.
WRITES_AROUND = ("Read-only file system", "No rule to make target '../", "can't create ../")


@dataclass(frozen=True)
class Attempt:
    """What came of one way."""

    way: Key
    lines: tuple[str, ...]  # of output, files named as the user knows them
    objects: tuple[Path, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what the user should know of how it was built
    excluded: str = ""  # why the module is not meant for this kernel

    @property
    def good(self) -> bool:
        """Whether it led to modules that can be loaded."""
        return not self.problems and not self.excluded

    @property
    def weight(self) -> tuple[bool, bool, bool, int]:
        """Of several failures the heaviest tells most: with errors in the sources, then with a tool that is not
        there (which may have made the file that another way misses), and the most that was done.
        """
        errors = output.has_errors(self.lines)
        missing = any("No such file or directory" in line for line in self.problems)
        done = sum(" CC " in line for line in self.lines)
        lacks = advice.missing_tool(self.lines) is not None or advice.wants_network(self.lines)
        return errors and not missing, lacks, errors, done


@dataclass(frozen=True)
class Bench:
    """What all ways of one build share."""

    request: Request
    work: WorkCopy
    place: Surroundings
    files: Mapping[str, str]  # of the copied folder, as scan gives them
    folder: Folder
    options: Sequence[str]  # CONFIG_X that nobody gives a value
    jobs: int

    def attempt(self, way: Key) -> Attempt:
        """Try one way."""
        if way == "dkms.conf":
            return self._dkms()
        if way == "make":
            parallel = View(environment={JOBS: str(self.jobs)}, first_in_path=(PARALLEL,))
            return self._judge(way, self._but_for_others(self._run(self._own_make(), parallel)))
        if way == "module.yaml":
            plan = self.request.module.expectation.build
            argv = self._kbuild(self.place.inside / plan.folder, plan.arguments)
            script = "\n".join(["set -e", *plan.before, "exec " + shlex.join(argv)])
            return self._judge(way, self._run(["bash", "-c", script]))
        if way == "below":
            (below,) = self.folder.below()
            return self._judge(
                way, self._run(self._kbuild(self.place.inside / below)), note=f"built in {below}/"
            )
        given = [f"{name}=m" for name in self.options] if way == "options" else []
        if given:
            given.append("KCFLAGS=" + " ".join(f"-D{name}_MODULE=1" for name in self.options))
        note = f"nobody gives {', '.join(self.options)} a value: built with =m" if given else ""
        return self._judge(way, self._run(self._kbuild(self.place.inside, given)), note=note)

    def _kbuild(self, folder: Path, arguments: Sequence[str] = ()) -> list[str]:
        return make_argv(self.request, folder, self.jobs, arguments)

    def _make_flags(self) -> str:
        """What every make gets, however deep in scripts: of the user, and of modules that this one needs.

        Variables in MAKEFLAGS count like those on the command line (GNU make's manual, "Options/Recursion").
        """
        symvers = " ".join(map(str, self.request.symvers))
        words = [
            WITHOUT_BTF,
            *([f"KBUILD_EXTRA_SYMBOLS={symvers}"] if symvers else []),
            *self.request.arguments,
        ]
        return " ".join(re.sub(r"([\s\\])", r"\\\1", word).replace("$", "$$") for word in words)

    def _own_make(self) -> list[str]:
        tree = tree_link(self.request.kernel)
        given = [f"{name}={tree}" for name in self.folder.tree_variables()]
        # Not -j: authors who never typed it write `all: clean modules`.
        return ["make", "--keep-going", *given]

    def _but_for_others(self, done: process.Completed) -> process.Completed:
        """Of the author's own make that failed only after kbuild had made all modules (at a program, at an
        installation): as if it had gone well, and said.
        """
        names = {path.stem for path in ordered_objects(self.work.copy, self.place.inside) if path.is_file()}
        wanted = {PurePath(name).name for name in self.folder.objects()}
        if done.returncode == 0 or not names or not wanted <= names or output.kbuild_failed(done.lines()):
            return done
        said = output.find_problems(done.lines(), failed=True)
        left = [line for line in done.lines() if line not in said]
        return process.Completed(done.argv, 0, "\n".join([*left, f"{OTHERS_MARK}{output.headline(said)}"]))

    # ---- dkms ------------------------------------------------------------------------------------------

    def _dkms(self) -> Attempt:
        request = self.request
        text = (self.work.copy / dkms.DKMS_CONF).read_text(errors="replace", encoding="utf-8")
        name, version = (dkms.field_of(text, f"PACKAGE_{what}") for what in ("NAME", "VERSION"))
        view = self._dkms_view(name or request.module.name, version or "0")
        arch = ARCHES[request.kernel.arch].name
        given = [request.kernel.release, arch, str(tree_link(request.kernel)), name, version]
        argv = ["bash", "-c", dkms.EVALUATE, "dkms.conf", *given]
        done = self._run(argv, view, READ_SECONDS)
        conf = dkms.parse_answers(done.output)
        if conf is None or not conf.name:
            said = [line for line in done.lines() if line.strip()]
            problems = [f"{self.place.folder / dkms.DKMS_CONF} cannot be read", *said[-output.TAIL_LINES :]]
            return Attempt("dkms.conf", tuple(done.lines()), (), tuple(problems), ())
        if conf.excluded:
            return Attempt("dkms.conf", (), (), (), (), excluded=f"dkms.conf: {conf.excluded}")
        if (conf.name, conf.version) != (name, version):  # it computes them
            view = self._dkms_view(conf.name, conf.version or "0")
        script = dkms.build_script(
            conf,
            tree=tree_link(request.kernel),
            folder=view.cwd,
            release=request.kernel.release,
            words=f"-j{self.jobs}",
        )
        view += View(environment={"CC": request.toolchain.compiler})
        judged = self._judge("dkms.conf", self._run(["bash", "-c", script], view), expected=conf.built)
        said = [f"dkms.conf: {line}" for line in conf.complaints if "error" in line]
        return replace(judged, warnings=(*judged.warnings, *said))

    def _dkms_view(self, name: str, version: str) -> View:
        """The folder where dkms would have it: real folders, since find(1) does not follow links."""
        folder = dkms.DKMS_TREE / name / version / "build"
        places = [folder]
        if any(mount.inside == SOURCES for mount in self.request.toolchain.view.mounts):
            places.append(SOURCES / f"{name}-{version}")
        mounts = tuple(Mount(place, self.work.copy, writable=True) for place in places)
        return View(mounts, {folder.with_name("source"): folder}, cwd=folder)

    # ---- running and judging ---------------------------------------------------------------------------

    def _run(
        self, argv: Sequence[str], more: View | None = None, seconds: float = MAKE_SECONDS
    ) -> process.Completed:
        """Run a command in the module's folder; its output goes to the log."""
        request = self.request
        symbols = [Mount(path.parent, path.parent) for path in request.symvers]
        mounts = (*self.place.mounts(), *symbols, self.work.mount())
        view = View(mounts, environment={"MAKEFLAGS": self._make_flags()}, cwd=self.place.inside)
        limited = ["bash", "-c", f'ulimit -u {MAX_PROCESSES}; exec "$@"', "bash", *argv]
        sandbox = request.toolchain.argv(limited, view + more if more else view)
        deadline = Deadline(seconds, f"build {request.module.name} for {request.kernel.spec}")
        counted = _Counter()
        try:
            done = process.run(
                sandbox, deadline=deadline, log_to=self.work.log, check=False, on_line=counted.count
            )
        except (DeadlineError, _EndlessError) as error:
            ended = "kmod-harness stopped it: " + error.message.partition(" (")[0]
            lines = [
                *self.work.log.read_text(errors="replace", encoding="utf-8").splitlines()[-output.TAIL_LINES :],
                f"*** {ended}",
            ]
            return process.Completed(tuple(sandbox), 1, "\n".join(lines))
        if done.output.startswith("bwrap: "):
            raise HarnessError(
                "the sandbox cannot be made",
                evidence=done.lines()[:5],
                hint="invoke doctor",
                log=self.work.log,
            )
        return done

    def _judge(
        self, way: Key, done: process.Completed, *, expected: Sequence[str] = (), note: str = ""
    ) -> Attempt:
        failed = done.returncode != 0
        lines = [self.place.name(_DKMS_PLACE.sub(str(self.place.inside), line)) for line in done.lines()]
        named = output.name_files(lines, self.work.source, self.files)
        rules = self.request.module.expectation.warnings
        problems = output.find_problems(named, failed=failed, rules=rules)
        objects = self._objects(expected)
        if not failed and not objects:
            problems.append(advice.nothing_built(self.place.folder, self.folder, self.options))
        if not failed:
            for path in objects:
                problems += object_problems(path, self.request.kernel)
            problems += advice.ignored_flags(named, self.work.copy)
        wanted = [line.removeprefix(NOT_DONE_MARK) for line in lines if line.startswith(NOT_DONE_MARK)]
        notes = [note] if note else []
        notes += [
            f"make failed at something else than the modules, which are built: {line.removeprefix(OTHERS_MARK)}"
            for line in lines
            if line.startswith(OTHERS_MARK)
        ]
        notes += [f"the build calls {one}: not done here" for one in dict.fromkeys(wanted)]
        warnings = output.find_warnings(named, rules)
        return Attempt(
            way=way,
            lines=tuple(line for line in named if not line.startswith(advice.MARK)),
            objects=tuple(objects),
            problems=tuple(dict.fromkeys(problems)),
            warnings=tuple(warnings),
            notes=tuple(notes),
        )

    def _objects(self, expected: Sequence[str]) -> list[Path]:
        """The .ko files, whether they exist or not: those that dkms.conf names, else all that there are."""
        if expected:
            return [self.work.copy / name for name in expected]
        return ordered_objects(self.work.copy, self.place.inside)


class _EndlessError(HarnessError):
    """A build prints without end."""


class _Counter:
    """Ends a run that prints too much."""

    def __init__(self) -> None:
        self._lines = 0

    def count(self, _line: str) -> None:
        self._lines += 1
        if self._lines > MAX_LINES:
            raise _EndlessError(f"more than {MAX_LINES} lines of output")


def make_argv(request: Request, folder: Path, jobs: int, arguments: Sequence[str] = ()) -> list[str]:
    """kbuild's command line for a folder inside the sandbox."""
    arch = ARCHES[request.kernel.arch]
    argv = [
        "make",
        f"-j{jobs}",
        "--keep-going",  # one broken file of forty does not hide what is wrong with others
        f"--directory={request.kernel.build_tree}",
        f"M={folder}",
        f"ARCH={arch.make}",
        *compiler_arguments(request.kernel, request.toolchain.compiler),
        WITHOUT_BTF,
    ]
    if request.symvers:
        argv.append(f"KBUILD_EXTRA_SYMBOLS={' '.join(map(str, request.symvers))}")
    return [*argv, *arguments, *request.arguments, "modules"]


def ordered_objects(copy: Path, folder: Path) -> list[Path]:
    """The .ko files that modules.order names, whether they exist or not; beside them others there are."""
    listed: list[Path] = []
    for order in sorted(copy.rglob("modules.order"), key=lambda path: len(path.parts)):
        for name in order.read_text(encoding="utf-8").split():
            # Absolute or relative paths, to .ko or .o: it has changed several times.
            path = Path(name).with_suffix(".ko")
            if path.is_absolute():
                listed += [copy / path.relative_to(folder)] if path.is_relative_to(folder) else []
            elif order.parent == copy or (order.parent / path).is_file():
                listed.append(order.parent / path)
    return list(dict.fromkeys([*listed, *sorted(copy.rglob("*.ko"))]))
