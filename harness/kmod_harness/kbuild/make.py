# SPDX-License-Identifier: MIT
"""Build modules for kernels: in parallel, incrementally, once for each content, judged strictly.

Each module has a work copy for each kernel, which in the sandbox lies where the module's folder would: what is
beside the module can be included, messages name the files as the user knows them, and nothing is ever
written into the user's folder.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from kmod_harness.base import process, store
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.parallel import cores, run_parallel
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild import advice, output, sources
from kmod_harness.kbuild.artefacts import Artefact, Request, find_artefact, publish
from kmod_harness.kbuild.attempt import WRITES_AROUND, Attempt, Bench
from kmod_harness.kbuild.beside import Beside, work_name
from kmod_harness.kbuild.given import finished_object, judge_object, rust_problem, unpacked
from kmod_harness.kbuild.surroundings import Surroundings, find_surroundings
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kbuild.ways import Key, find_ways, read_folder
from kmod_harness.kbuild.workcopy import WorkCopy
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.symbols import explain_missing, read_options
from kmod_harness.module.module import Module, resolve_module

# What the harness itself says to make: another value would build something else than asked for.
RESERVED = ("M", "O", "MO", "KBUILD_EXTMOD", "KBUILD_OUTPUT")


@dataclass(frozen=True)
class Build:
    """What became of one module for one kernel."""

    module: Module
    kernel: Kernel
    objects: tuple[Path, ...]  # the .ko files; none when it failed
    symvers: Path | None  # Module.symvers for modules that depend on this one
    state: Literal["built", "unchanged", "failed", "excluded", "impossible"]
    problems: tuple[str, ...]  # why it failed, the compiler's own lines first; why it is not for this kernel
    warnings: tuple[str, ...]  # what should be mended
    seconds: float
    log: Path  # make's whole output
    needs: tuple[Build, ...] = ()  # of folders beside, whose symbols it uses: loaded first, in this order
    way: str = ""  # by which it was built, see kbuild/ways.py
    notes: tuple[str, ...] = ()  # what the user should know of how it was built
    hint: str | None = None  # what to do about the problems
    beside: tuple[Path, ...] = ()  # of a finished .ko: others in its folder, which it may need


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
        sparse = ("sparse",) if any(re.fullmatch(r"C=[12]", argument) for argument in arguments) else ()
        plan = _plan(pairs)
        wanted = {(kernel, (*sparse, *module.expectation.build.tools)) for module, kernel, _ in plan.values()}
        find = partial(resolve_toolchain, settings=settings, progress=progress)
        ordered = sorted(wanted, key=lambda one: (kernels.index(one[0]) if one[0] in kernels else 0, one[1]))
        found = run_parallel([partial(find, kernel, tools=tools) for kernel, tools in ordered])
        toolchains = dict(zip(ordered, found, strict=True))
        results: dict[_Key, Future[Build]] = {key: Future() for key in plan}
        jobs = max(1, cores() // len(plan)) if plan else 1

        def build(key: _Key) -> None:
            module, kernel, needed = plan[key]
            try:
                builds = [_wait(results[one, kernel]) for one in needed]
                symvers = tuple(build.symvers for build in builds if build.symvers)
                toolchain = toolchains[kernel, (*sparse, *module.expectation.build.tools)]
                request = Request(module, kernel, toolchain, tuple(arguments), symvers)
                failed = [build for build in builds if not build.objects]
                result = (
                    _broken_dependency(request, failed)
                    if failed
                    else build_beside(request, settings, progress, jobs)
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
        for one in (*module.needed, module):
            needed = tuple(other.path for other in one.needed)
            plan.setdefault((one.path, kernel), (one, kernel, needed))
    return plan


def _wait(future: Future[Build]) -> Build:
    """The dependency's result; it was started before, but the work may be given up."""
    while True:
        try:
            return future.result(timeout=0.2)
        except TimeoutError:
            process.check_cancelled()


def build_beside(
    request: Request, settings: Settings, progress: Progress, jobs: int = 1, above: tuple[Path, ...] = ()
) -> Build:
    """Build one module, and before it those of folders beside whose symbols it uses.

    Which these are, its make files say (KBUILD_EXTRA_SYMBOLS), or the symbols that nobody else has.
    """
    named = request.module
    try:
        module, tools = unpacked(named, request.kernel, settings, progress)
        request = replace(request, module=module)
        if tools:
            toolchain = resolve_toolchain(request.kernel, settings, progress, tools)
            request = replace(request, toolchain=toolchain)
        if request.module.kind == "object":
            return _finished(request, settings)
        beside = Beside(request, settings)
        above = (*above, request.module.path)
        while True:
            needs: list[Build] = []
            for folder in beside.folders:
                if folder not in above:
                    one = replace(request, module=resolve_module(str(folder)))
                    built = build_beside(one, settings, progress, jobs, above)
                    needs += [each for each in (*built.needs, built) if each not in needs]
            symvers = tuple(build.symvers for build in needs if build.symvers)
            whole = replace(request, symvers=(*request.symvers, *symvers))
            build = build_module(whole, settings, progress, jobs)
            if build.state != "failed" or not beside.learn(build.problems, above):
                build = replace(build, module=named, needs=tuple(needs))
                return _naming_owners(build, settings, progress)
    except UsageError as error:
        if named.kind == "folder":
            raise
        raise HarnessError(error.message, hint=error.hint, evidence=error.evidence) from error


def _finished(request: Request, settings: Settings) -> Build:
    """A .ko that needs no building."""
    path = finished_object(request.module.path, settings)
    problems, hint = judge_object(path, request.kernel)
    beside = sorted(path.parent.glob("*.ko")) if path == request.module.path else []
    return Build(
        module=request.module,
        kernel=request.kernel,
        objects=() if problems else (path,),
        symvers=None,
        state="failed" if problems else "unchanged",
        problems=tuple(problems),
        warnings=(),
        seconds=0.0,
        log=path,
        hint=hint,
        beside=tuple(one for one in beside if one != path),
    )


def build_module(request: Request, settings: Settings, progress: Progress, jobs: int = 1) -> Build:
    """Build a folder's module for one kernel, or find that there is nothing to do."""
    began = time.monotonic()
    try:
        found = sources.scan(request.module.path)
    except sources.TooLargeError as error:
        raise UsageError(str(error), hint="give the folder of the module alone") from error
    if any(name.endswith(".rs") for name in found):
        folder = read_folder(request.module.path, found)
        if why := rust_problem(found, folder, _configuration(request.kernel)):
            return _impossible(request, why)
    base_key = request.base_key(found)
    if artefact := find_artefact(settings, base_key):
        return _succeeded(request, artefact, "unchanged", began)
    label = f"{request.module.name} for {request.kernel.spec}"
    name = work_name(request)
    with store.locked(settings, f"build-{name}", progress), progress.task(f"build {label}"):
        if artefact := find_artefact(settings, base_key):  # another run has just done it
            return _succeeded(request, artefact, "unchanged", began)
        place = find_surroundings(request.module.path)
        work = WorkCopy(settings.cache / "build" / name, place)
        attempt, files = _try_ways(request, work, place, found, jobs)
        if not attempt.good:
            return _unsuccessful(request, work, attempt, time.monotonic() - began)
        outside = _outside(request, work, place, files, settings)
        artefact = publish(settings, base_key, outside, work.copy, work.log, attempt)
        work.keep(files, outside, attempt.way, clean=not attempt.warnings)
        return _succeeded(request, artefact, "built", began)


def _try_ways(
    request: Request, work: WorkCopy, place: Surroundings, found: Mapping[str, str], jobs: int
) -> tuple[Attempt, Mapping[str, str]]:
    """The first way that leads to modules, else the failure that tells most; and what was copied for it."""
    attempts: list[Attempt] = []
    preferred = work.way
    while True:
        files = sources.scan(work.source) if work.wide else found
        folder = read_folder(request.module.path, found)
        configuration = _configuration(request.kernel)
        ways: list[Key] = find_ways(request.module.expectation.build, folder, configuration)
        bench = Bench(request, work, place, files, folder, folder.options(configuration), jobs)
        for way in sorted(ways, key=lambda way: way != preferred):
            work.bring(files, fresh=bool(attempts) or way not in ("kbuild", "make", "options"))
            if advice.ignores_extra_cflags(request.kernel.build_tree):
                advice.report_flags(work.copy, folder)
            attempts.append(bench.attempt(way))
            if attempts[-1].good or attempts[-1].excluded:
                return attempts[-1], files
        if work.wide or not _wants_more(attempts, place):
            worst = max(attempts, key=lambda attempt: attempt.weight)
            work.log.write_text("\n".join(worst.lines) + "\n", encoding="utf-8")
            return worst, files
        work.wide = True


def _wants_more(attempts: Sequence[Attempt], place: Surroundings) -> bool:
    """Whether a build failed for writing beside the module's folder, where that can be copied as a whole."""
    lines = (line for attempt in attempts for line in attempt.lines)
    if place.around is None or not any(words in line for line in lines for words in WRITES_AROUND):
        return False
    try:
        sources.scan(place.around)
    except (sources.TooLargeError, OSError):
        return False
    return True


def _configuration(kernel: Kernel) -> str:
    path = kernel.build_tree / "include" / "config" / "auto.conf"
    return path.read_text(errors="replace", encoding="utf-8") if path.is_file() else ""


def _outside(
    request: Request, work: WorkCopy, place: Surroundings, files: Mapping[str, str], settings: Settings
) -> list[str]:
    """The files beside the module's own that the build has used, or that were copied for it."""
    settled = _settled(settings)
    used = sources.outside_files(work.copy, place.inside, request.kernel.build_tree, settled, place.to_host)
    if not work.wide:
        return used
    copied = (work.source / name for name in files)
    beside = [str(path) for path in copied if not path.is_relative_to(request.module.path)]
    return sorted({*used, *beside})


def _settled(settings: Settings) -> tuple[Path, ...]:
    """Folders whose content is covered by the keys of kernel and compiler."""
    return (settings.cache, *(Path("/", name) for name in ("usr", "lib", "lib64", "etc")))


# ---- results ---------------------------------------------------------------------------------------------


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
        way=artefact.way,
        notes=artefact.notes,
    )


def _unsuccessful(request: Request, work: WorkCopy, attempt: Attempt, seconds: float) -> Build:
    extra = advice.ignores_extra_cflags(request.kernel.build_tree)
    folder = read_folder(request.module.path, sources.scan(request.module.path)) if extra else None
    sets_extra = folder is not None and any(text.flags for text in folder.texts.values())
    hint = advice.hint_for(
        attempt.problems,
        attempt.lines,
        request.module.path,
        extra_cflags=sets_extra,
        around=find_surroundings(request.module.path).around,
    )
    if hint is None and output.has_errors(attempt.lines) and not output.undefined_symbols(attempt.problems):
        options = read_options(request.kernel.build_tree)
        hint = advice.option_that_is_off(request.module.path, options, request.kernel)
    return Build(
        module=request.module,
        kernel=request.kernel,
        objects=(),
        symvers=None,
        state="excluded" if attempt.excluded else "failed",
        problems=(attempt.excluded,) if attempt.excluded else attempt.problems,
        warnings=attempt.warnings,
        seconds=seconds,
        log=work.log,
        way=attempt.way,
        notes=attempt.notes,
        hint=hint,
    )


def _impossible(request: Request, why: str) -> Build:
    return Build(
        module=request.module,
        kernel=request.kernel,
        objects=(),
        symvers=None,
        state="impossible",
        problems=(why,),
        warnings=(),
        seconds=0.0,
        log=request.module.path,
    )


def _naming_owners(build: Build, settings: Settings, progress: Progress) -> Build:
    """The same, telling first which parts of other kernels have the symbols that this one lacks."""
    owners = explain_missing(output.undefined_symbols(build.problems), build.kernel, settings, progress)
    if not owners:
        return build
    problems = (*owners, *build.problems)
    hint = build.hint or advice.hint_for(problems, (), build.module.path)
    return replace(build, problems=problems, hint=hint)


def _broken_dependency(request: Request, failed: Sequence[Build]) -> Build:
    names = ", ".join(build.module.name for build in failed)
    return Build(
        module=request.module,
        kernel=request.kernel,
        objects=(),
        symvers=None,
        state="failed",
        problems=(f"depends on {names}, which failed to build",),
        warnings=(),
        seconds=0.0,
        log=failed[0].log,
    )
