# SPDX-License-Identifier: MIT
"""Build modules for kernels with kbuild: in parallel, incrementally, once for each content, judged strictly.

Each module has a work copy for each kernel, which in the sandbox lies at the module's own path: what is
beside the module can be included, messages name the files as the user knows them, and nothing is ever
written into the user's folder.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.parallel import cores, run_parallel
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild import output, sources
from kmod_harness.kbuild.artefacts import LOG, Artefact, Request, find_artefact, outside_key, publish
from kmod_harness.kbuild.objects import object_problems
from kmod_harness.kbuild.sandbox import surroundings
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.module import Module, needed_modules

MAKE_SECONDS = 900.0
# What the harness itself says to make: another value would build something else than asked for.
RESERVED = ("M", "O", "MO", "KBUILD_EXTMOD", "KBUILD_OUTPUT")


@dataclass(frozen=True)
class Build:
    """What became of one module for one kernel."""

    module: Module
    kernel: Kernel
    objects: tuple[Path, ...]  # the .ko files; none when it failed
    symvers: Path | None  # Module.symvers for modules that depend on this one
    state: Literal["built", "unchanged", "failed"]
    problems: tuple[str, ...]  # why it failed, the compiler's own lines first
    warnings: tuple[str, ...]  # the compiler's warnings
    seconds: float
    log: Path  # make's whole output


def check_arguments(arguments: Sequence[str]) -> None:
    """UsageError for what the user cannot give to make."""
    for argument in arguments:
        if argument.startswith("-") or "=" not in argument or argument.split("=")[0] in RESERVED:
            raise UsageError(f"{argument!r} cannot be given to make here; want NAME=value, e.g. W=1")


def build_all(
    pairs: Sequence[tuple[Module, Kernel]],
    settings: Settings,
    progress: Progress,
    arguments: Sequence[str] = (),
) -> list[Build]:
    """Build each module for its kernel; results in the order of `pairs`.

    What module.yaml names under `depends` is built before (also when it is not among the pairs). A build
    that fails is a result; HarnessError means that nothing is known (no compiler, disk full, ...).
    arguments: for make, see check_arguments.
    """
    with store.explained(settings):
        kernels = list(dict.fromkeys(kernel for _, kernel in pairs))
        tools = ("sparse",) if any(re.fullmatch(r"C=[12]", argument) for argument in arguments) else ()
        find = partial(resolve_toolchain, settings=settings, progress=progress, tools=tools)
        found = run_parallel([partial(find, kernel) for kernel in kernels])
        toolchains = dict(zip(kernels, found, strict=True))
        plan = _plan(pairs)
        results: dict[_Key, Future[Build]] = {key: Future() for key in plan}
        jobs = max(1, cores() // len(plan)) if plan else 1

        def build(key: _Key) -> None:
            module, kernel, needed = plan[key]
            try:
                builds = [_wait(results[one, kernel]) for one in needed]
                symvers = tuple(build.symvers for build in builds if build.symvers)
                request = Request(module, kernel, toolchains[kernel], tuple(arguments), symvers)
                failed = [build.module.name for build in builds if build.state == "failed"]
                result = (
                    _failed(request, [f"depends on {', '.join(failed)}, which failed to build"], builds[0].log)
                    if failed
                    else build_module(request, settings, progress, jobs)
                )
                results[key].set_result(result)
            except BaseException as error:
                results[key].set_exception(error)
                raise

        run_parallel([partial(build, key) for key in plan])
        return [results[module.path, kernel].result() for module, kernel in pairs]


_Key = tuple[Path, Kernel]


def _plan(pairs: Sequence[tuple[Module, Kernel]]) -> dict[_Key, tuple[Module, Kernel, tuple[Path, ...]]]:
    """What to build, in an order in which dependencies come first; with each all that it depends on."""
    plan: dict[_Key, tuple[Module, Kernel, tuple[Path, ...]]] = {}
    for module, kernel in pairs:
        for one in (*needed_modules(module), module):
            needed = tuple(other.path for other in needed_modules(one))
            plan.setdefault((one.path, kernel), (one, kernel, needed))
    return plan


def _wait(future: Future[Build]) -> Build:
    """The dependency's result; it was started before, but the work may be given up."""
    while True:
        try:
            return future.result(timeout=0.2)
        except TimeoutError:
            process.check_cancelled()


def build_module(request: Request, settings: Settings, progress: Progress, jobs: int = 1) -> Build:
    """Build one module for one kernel, or find that there is nothing to do."""
    began = time.monotonic()
    found = sources.scan(request.module.path)
    base_key = request.base_key(found)
    if artefact := find_artefact(settings, base_key):
        return _succeeded(request, artefact, "unchanged", began)
    label = f"{request.module.name} for {request.kernel.spec}"
    name = f"{request.module.name}-{request.kernel.release}-{request.work_key()[:12]}"
    with store.locked(settings, f"build-{name}", progress), progress.task(f"build {label}"):
        if artefact := find_artefact(settings, base_key):  # another run has just done it
            return _succeeded(request, artefact, "unchanged", began)
        work = WorkCopy(settings.cache / "build" / name)
        work.bring(request.module.path, found)
        failed = _make(request, work, jobs)
        objects, problems, warnings = _judge(request, work, found, failed=failed)
        if problems:
            return _failed(request, problems, work.log, warnings, time.monotonic() - began)
        settled = _settled(settings)
        outside = sources.outside_files(work.copy, request.module.path, request.kernel.build_tree, settled)
        artefact = publish(settings, base_key, outside, objects, work.folder, warnings)
        work.keep(found, outside, clean=not warnings)
        return _succeeded(request, artefact, "built", began)


def _succeeded(
    request: Request, artefact: Artefact, state: Literal["built", "unchanged"], began: float
) -> Build:
    return Build(
        module=request.module,
        kernel=request.kernel,
        objects=artefact.objects,
        symvers=artefact.symvers,
        state=state,
        problems=(),
        warnings=artefact.warnings,
        seconds=time.monotonic() - began,
        log=artefact.log,
    )


def _failed(
    request: Request, problems: Sequence[str], log: Path, warnings: Sequence[str] = (), seconds: float = 0.0
) -> Build:
    return Build(
        module=request.module,
        kernel=request.kernel,
        objects=(),
        symvers=None,
        state="failed",
        problems=tuple(problems),
        warnings=tuple(warnings),
        seconds=seconds,
        log=log,
    )


class WorkCopy:
    """A module's work copy for one kernel, kept between runs so that kbuild can build incrementally."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = folder / "src"
        self.log = folder / LOG
        self._state = folder / "state.json"

    def bring(self, source: Path, wanted: Mapping[str, str]) -> None:
        """Bring the copy to the state `wanted` of `source`; from scratch when it cannot be built upon.

        That is after a failed, killed or warned-about build (make would not repeat the messages of what
        it does not compile again), and when outside headers changed (their time may be older).
        """
        state = store.read_json(self._state)
        self._state.unlink(missing_ok=True)
        present: Mapping[str, str] = {}
        if isinstance(state, dict) and all(outside_key(Path(p)) == k for p, k in state["outside"].items()):
            present = state["sources"]
        else:
            store.remove(self.copy)
        self.copy.mkdir(parents=True, exist_ok=True)
        sources.mirror(source, self.copy, wanted, present)
        for stale in (*self.copy.rglob("*.ko"), self.copy / "modules.order"):
            stale.unlink(missing_ok=True)

    def keep(self, present: Mapping[str, str], outside: Sequence[str], *, clean: bool) -> None:
        """Let the next build build upon this one."""
        if clean:
            keys = {name: outside_key(Path(name)) for name in outside}
            store.write_atomically(self._state, json.dumps({"sources": dict(present), "outside": keys}))


def make_argv(request: Request, jobs: int) -> list[str]:
    """kbuild's command line."""
    arch = ARCHES[request.kernel.arch]
    argv = [
        "make",
        f"-j{jobs}",
        f"--directory={request.kernel.build_tree}",
        f"M={request.module.path}",
        f"ARCH={arch.make}",
        f"CC={request.toolchain.compiler}",
        # pahole may be older than the kernel's and fail; modules load without BTF.
        "CONFIG_DEBUG_INFO_BTF_MODULES=",
        # Debian's headers would ask dpkg, which a toolchain root does not have.
        f"DEB_BUILD_ARCH={arch.debian}",
        f"DEB_HOST_ARCH={arch.debian}",
    ]
    if request.symvers:
        argv.append(f"KBUILD_EXTRA_SYMBOLS={' '.join(map(str, request.symvers))}")
    return [*argv, *request.arguments, "modules"]


def _make(request: Request, work: WorkCopy, jobs: int) -> bool:
    """Run make in the sandbox; whether it failed. The output is in the log."""
    argv = request.toolchain.argv(
        make_argv(request, jobs),
        visible=[surroundings(request.module.path)],
        writable={request.module.path: work.copy},
    )
    deadline = Deadline(MAKE_SECONDS, f"build {request.module.name} for {request.kernel.spec}")
    done = process.run(argv, deadline=deadline, log_to=work.log, check=False)
    if done.output.startswith("bwrap: "):
        raise HarnessError(
            "the sandbox cannot be made", evidence=done.lines()[:5], hint="invoke doctor", log=work.log
        )
    return done.returncode != 0


def _judge(
    request: Request, work: WorkCopy, files: Mapping[str, str], *, failed: bool
) -> tuple[list[Path], list[str], list[str]]:
    """The .ko files, why they are no good (empty: they are), and the compiler's warnings."""
    lines = output.name_files(
        work.log.read_text(errors="replace", encoding="utf-8").splitlines(), request.module.path, files
    )
    warnings = output.find_warnings(lines)
    problems = output.find_problems(lines, failed=failed)
    objects = _ordered_objects(work.copy, request.module.path)
    if not failed:
        if not objects:
            problems.append(f"no module was built: is obj-m set in {request.module.path}?")
        for path in objects:
            problems += object_problems(path, request.kernel)
    return objects, problems, warnings


def _ordered_objects(copy: Path, folder: Path) -> list[Path]:
    """The .ko files that modules.order names, whether they exist or not; beside them others there are."""
    order = copy / "modules.order"
    names = order.read_text(encoding="utf-8").split() if order.is_file() else []
    # Absolute or relative paths, to .ko or .o: it has changed several times.
    relative = [Path(name).with_suffix(".ko") for name in names]
    listed = [copy / (p.relative_to(folder) if p.is_relative_to(folder) else p) for p in relative]
    return list(dict.fromkeys([*listed, *sorted(copy.rglob("*.ko"))]))


def _settled(settings: Settings) -> tuple[Path, ...]:
    """Folders whose content is covered by the keys of kernel and compiler."""
    return (settings.cache, *(Path("/", name) for name in ("usr", "lib", "lib64", "etc")))
