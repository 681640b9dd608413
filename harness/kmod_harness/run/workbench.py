# SPDX-License-Identifier: MIT
"""All steps of one run, tied together: kernels, builds, machines, checks. What fixtures and commands use."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from kmod_harness.base.deadline import timeout_factor
from kmod_harness.base.errors import Failure, HarnessError, UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import PROJECT, Settings
from kmod_harness.kbuild.make import Build, build_all, check_arguments
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import canonical, dependencies, soft_dependencies, with_dependencies
from kmod_harness.kernels.ranges import expand_kernels
from kmod_harness.kernels.resolve import check_kernels, resolve_kernel
from kmod_harness.machine.machine import GuestPausedError
from kmod_harness.machine.module_tree import can_mount
from kmod_harness.module.devices import resolve_devices
from kmod_harness.module.expectation import IN_TREE
from kmod_harness.module.module import Module, resolve_module
from kmod_harness.run.fleet import MODPROBE, Fleet, MachineOptions
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import OK
from kmod_harness.verdict.lifecycle import Verdict, judge
from kmod_harness.verdict.observation import Observation
from kmod_harness.verdict.observe import Subject, observe
from kmod_harness.verdict.source import ModuleFile, Symbols, with_source

RESCUE_MODULE = "force_rmmod"


@dataclass(frozen=True)
class Options:
    """What the user chose for a run. UsageError for what cannot be."""

    machines: MachineOptions = field(default_factory=MachineOptions)
    make_arguments: tuple[str, ...] = ()
    reloads: int | None = None  # 1 or more, instead of what module.yaml says
    guard: bool = False  # force_rmmod guards the modules while they are tested
    together: bool = False  # all modules of the run are loaded while one of them is tested
    require_device: bool = False  # a driver whose hardware is absent has failed

    def __post_init__(self) -> None:
        check_arguments(self.make_arguments)


@dataclass(frozen=True)
class Checked:
    """What became of one .ko on one machine."""

    name: str  # of the module as the kernel knows it
    verdict: Verdict
    observation: Observation


@dataclass
class Workbench:
    """One run's kernels, builds and machines. Everything is made on demand and at most once."""

    settings: Settings
    progress: Progress
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        timeout_factor()  # a wrong one is found before anything is done
        self.fleet = Fleet(self.settings, self.progress, self.options.machines)
        self.company: tuple[Module, ...] = ()  # loaded while one of them is tested
        self._kernels: dict[str, Kernel] = {}
        self._no_kernels: dict[str, HarnessError] = {}
        self._builds: dict[tuple[Path, str], Build] = {}

    def close(self) -> None:
        """End the machines that are still there."""
        self.fleet.close()

    def kernel_names(self, specs: Iterable[str]) -> list[str]:
        """The specs, each once, with the kernels of a range in its place. Raises as expand_kernels does."""
        return expand_kernels(specs, self.settings, self.progress)

    def check_kernels(self, specs: Iterable[str]) -> None:
        """UsageError for a spec that cannot be right; nothing is fetched but lists of packages.

        Without these a name may be right, and whoever needs the kernel will say what is missing.
        """
        try:
            check_kernels(specs, self.settings, self.progress)
        except UsageError:
            raise
        except HarnessError:
            return

    def kernels(self, specs: Iterable[str]) -> list[Kernel]:
        """The kernels for several specs, each once. UsageError for a wrong one before any is fetched."""
        unique = self.kernel_names(specs)
        self.check_kernels(unique)
        return [self.kernel(spec) for spec in unique]

    def kernel(self, spec: str) -> Kernel:
        """The kernel for a spec. Raises UsageError for a wrong one, HarnessError for one that cannot be had."""
        if spec in self._no_kernels:
            raise self._no_kernels[spec]
        if spec not in self._kernels:
            try:
                self._kernels[spec] = resolve_kernel(spec, self.settings, self.progress)
            except HarnessError as error:
                self._no_kernels[spec] = error  # the network is not asked again for every module
                raise
        return self._kernels[spec]

    def build(self, pairs: Sequence[tuple[Module, Kernel]]) -> list[Build]:
        """Build modules and what they depend on, in parallel; the results in the order of `pairs`."""
        wanted = list(pairs)
        for module, kernel in pairs:
            wanted += [(needed, kernel) for needed in module.needed]
            if self.options.guard:
                wanted.append((rescue_module(), kernel))
        missing = [pair for pair in dict.fromkeys(wanted) if (pair[0].path, pair[1].spec) not in self._builds]
        if missing:
            for build in build_all(missing, self.settings, self.progress, self.options.make_arguments):
                self._builds[build.module.path, build.kernel.spec] = build
        return [self._builds[module.path, kernel.spec] for module, kernel in pairs]

    def check(
        self, module: Module, kernel: Kernel, stage: Callable[[str], None], only: str = ""
    ) -> list[Checked]:
        """Take a module through its life, each .ko of its folder on a fresh machine.

        The module must have been built. stage: told what is being done. only: this .ko, named as the kernel
        does. Raises HarnessError when no verdict is possible.
        """
        build = self._builds[module.path, kernel.spec]
        try:
            kos = [path for path in build.objects if only in ("", canonical(path.name))]
            return [self._check_object(build, ko, stage) for ko in kos]
        except GuestPausedError as error:
            if not self.fleet.give_up_kvm(error):
                raise
            return self.check(module, kernel, stage, only)

    def _check_object(self, build: Build, ko: Path, stage: Callable[[str], None]) -> Checked:
        name = canonical(ko.name)
        expectation = build.module.expectation.of(name).on(build.kernel.release, build.kernel.arch)
        if self.options.reloads is not None:
            expectation = replace(expectation, reloads=self.options.reloads)
        stage("boot")
        others = self._company_of(build)
        named = (*expectation.devices, *(one for each in others for one in each.module.expectation.devices))
        devices = resolve_devices(dict.fromkeys(named) if others else named)
        with (
            self.fleet.machine(build.kernel, name, str(build.module.path), devices) as (machine, guest),
            self._guarded(guest, build.kernel, name),
        ):
            _refuse_name_in_use(guest, name)
            needed = self.upload_needed(guest, build, ko, others)
            subject = Subject(name, guest.put(ko), expectation.params, ModuleFile(ko).function_at)
            rounds = expectation.reloads if expectation.load == "ok" else 1
            observation = observe(guest, subject, needed, rounds, stage=stage)
            verdict = judge(name, expectation, observation, date.today())
            if not verdict.passed:
                self.fleet.keep_logs(machine)
                verdict = with_source(verdict, Symbols([ModuleFile(path) for path in build.objects]))
        return Checked(name, verdict, observation)

    def _company_of(self, build: Build) -> list[Build]:
        """What is to be loaded while a module is tested. HarnessError when one of them is not there."""
        kernel = build.kernel
        company = (one for one in self.company if one != build.module and one.expectation.load == OK)
        others = [self._builds[one.path, kernel.spec] for one in company]
        broken = next((one for one in others if not one.objects), None)
        if broken:
            raise HarnessError(
                f"together with {broken.module.name}, which is not built for {kernel.spec}",
                evidence=broken.problems,
                hint=f"--module {broken.module.name} alone, or without --together",
            )
        return others

    @contextlib.contextmanager
    def _guarded(self, guest: Guest, kernel: Kernel, name: str) -> Iterator[None]:
        """If that was chosen, an oops in init or exit of modules is an error meanwhile, and not the end."""
        if not self.options.guard or name == RESCUE_MODULE:
            yield
            return
        build = self._builds[rescue_module().path, kernel.spec]
        if not build.objects:
            raise HarnessError("the guard does not build", evidence=build.problems, log=build.log)
        outcome = guest.load(guest.put(build.objects[0]), {"guard": "*"}, call="init")
        if outcome != OK:
            raise HarnessError(f"the guard cannot be loaded: {outcome}")
        yield
        with contextlib.suppress(Failure):  # a machine that is lost has been told of
            guest.unload(RESCUE_MODULE)

    def upload_needed(
        self, guest: Guest, build: Build, ko: Path, others: Sequence[Build] = ()
    ) -> list[Subject]:
        """Copy into the guest what must be loaded before a .ko; in loading order.

        That is what module.yaml names, folders beside whose symbols it uses, and its folder's other modules
        that it uses; then `others` with what they need, but for those that use this one. The kernel's own
        modules that any of them needs are loaded at once.
        """
        objects = self._needed_objects(build)
        siblings = {canonical(path.name): path for path in (*build.objects, *build.beside)}
        for name in _siblings_used(ko, siblings):
            objects[name] = (siblings[name], _parameters(build, siblings[name]))
        above = {canonical(ko.name)}  # cannot be loaded before this one
        for other in others:
            for name, found in (self._needed_objects(other) | _objects_of(other)).items():
                if name in above or above & set(dependencies(found[0].read_bytes())):
                    above.add(name)
                else:
                    objects[name] = found
        for each in (*others, build):
            _load_in_tree(guest, each, [*(path for path, _ in objects.values()), ko], set(objects) | above)
        return [Subject(name, guest.put(path), parameters) for name, (path, parameters) in objects.items()]

    def _needed_objects(self, build: Build) -> _Objects:
        """The .ko files of what module.yaml names, and of folders beside whose symbols it uses."""
        objects: _Objects = {}
        for module in build.module.needed:
            one = self._builds[module.path, build.kernel.spec]
            for each in (*one.needs, one):
                objects |= _objects_of(each)
        for each in build.needs:
            objects |= _objects_of(each)
        return objects


_Objects = dict[str, tuple[Path, Mapping[str, str]]]  # a module's name -> its .ko and parameters


def _objects_of(build: Build) -> _Objects:
    return {canonical(path.name): (path, _parameters(build, path)) for path in build.objects}


def bring(guest: Guest, needed: Sequence[Subject], subject: Subject) -> None:
    """Load a module and before it what it needs, as far as they are not loaded. HarnessError with the log's
    last lines when one cannot be.
    """
    for one in (*needed, subject):
        mark = guest.log_mark()
        if one.name not in guest.modules() and (answer := guest.load(one.path, one.parameters)) != OK:
            said = [record.text for record in guest.log(mark)][-5:]
            raise HarnessError(f"{one.name} cannot be loaded: {answer}", evidence=said)


def _parameters(build: Build, ko: Path) -> Mapping[str, str]:
    return build.module.expectation.of(canonical(ko.name)).params


def _refuse_name_in_use(guest: Guest, name: str) -> None:
    hint = f"rename the module: obj-m := my_{name}.o"
    if name in guest.modules():
        raise HarnessError(
            f"the guest itself uses a module named {name}, which cannot be loaded twice nor be taken away",
            hint=hint,
        )
    if guest.run("test", "-e", f"/sys/module/{name}", check=False).returncode == 0:
        raise HarnessError(
            f"{name} is built into this kernel, which loads no second one of that name", hint=hint
        )


def _load_in_tree(guest: Guest, build: Build, kos: Sequence[Path], ours: set[str]) -> None:
    """Load the kernel's own modules that are named in module.yaml, or that one of the .ko files needs.

    By modprobe, with all that they depend on in turn.
    """
    expectation = build.module.expectation
    for name in expectation.depends:
        if name.startswith(IN_TREE):
            words = [f"{key}={value}" for key, value in expectation.depends_params.get(name, {}).items()]
            _modprobe(guest, build, name.removeprefix(IN_TREE), words)
    wanted = dict.fromkeys(name for ko in kos for name in dependencies(ko.read_bytes()))
    loaded = guest.modules()
    for name in wanted:
        if name not in ours and name not in loaded:
            _modprobe(guest, build, name, [])
    for name in dict.fromkeys(name for ko in kos for name in soft_dependencies(ko.read_bytes())):
        if name not in ours and name not in loaded:
            guest.run(MODPROBE, "-q", name, check=False)  # soft: it may be missing


def _modprobe(guest: Guest, build: Build, name: str, words: Sequence[str]) -> None:
    if not can_mount(build.kernel):
        _copy_and_load(guest, build.kernel, name, words)
        return
    done = guest.run(MODPROBE, name, *words, check=False)
    if done.returncode == 0:
        return
    said = done.output.splitlines()
    if "not found" in done.output:
        raise HarnessError(
            f"{build.module.name} needs {name}, which {build.kernel.release} does not have",
            evidence=said,
            hint=f"name its folder in module.yaml: depends: [{name}]",
        )
    raise HarnessError(f"the kernel's own {name} cannot be loaded", evidence=said)


def _copy_and_load(guest: Guest, kernel: Kernel, name: str, words: Sequence[str]) -> None:
    """The same in a guest that has no modules at hand, with what the module cannot do without."""
    for one, image in with_dependencies(kernel, [name]).items():
        parameters = dict(word.split("=", 1) for word in words) if one == canonical(name) else {}
        if one in guest.modules():
            continue
        answer = guest.load(guest.put_bytes(image, f"{one}.ko"), parameters)
        if answer != OK:
            raise HarnessError(f"the kernel's own {one} cannot be loaded: {answer}")


@functools.cache
def rescue_module() -> Module:
    """The rescue module's sources, which come with a checkout only."""
    folder = PROJECT / "kmod" / RESCUE_MODULE
    if not folder.is_dir():
        raise UsageError(f"the sources of {RESCUE_MODULE} are not here ({folder})", hint="run it in a checkout")
    return resolve_module(str(folder))


def _siblings_used(ko: Path, siblings: dict[str, Path]) -> list[str]:
    """Names of the modules of the same folder that a .ko uses, in loading order."""
    result: list[str] = []
    for name in dependencies(ko.read_bytes()):
        if name in siblings and siblings[name] != ko:
            result += [*_siblings_used(siblings[name], siblings), name]
    return list(dict.fromkeys(result))
