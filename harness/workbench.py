# SPDX-License-Identifier: MIT
"""All steps of one run, tied together: kernels, builds, machines, checks. What fixtures and commands use."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.build.kbuild import Build, build_all
from harness.build.module import Module, load_module
from harness.build.program import build_program
from harness.build.toolchain import resolve_toolchain
from harness.deadline import Deadline
from harness.errors import HarnessError, UsageError
from harness.guest.guest import Guest
from harness.guest.lifecycle import Subject, observe
from harness.guest.observation import Observation
from harness.guest.ssh import SshRunner, connect
from harness.kernels.kernel import Kernel
from harness.kernels.packages import unpack_guest_packages
from harness.kernels.resolve import resolve_kernel
from harness.machine import accelerator as accelerators
from harness.machine.accelerator import Accelerator
from harness.machine.initramfs import base_initramfs
from harness.machine.kernel_modules import canonical, dependencies, with_dependencies
from harness.machine.machine import BOOT_SECONDS, BootError, GuestPausedError, Machine, boot
from harness.machine.qemu import BootFiles, host_tsc_khz, kernel_command_line
from harness.machine.spec import MachineSpec, load_machine_spec
from harness.machine.template import CloneError, Recipe, clone, ensure, forget
from harness.machine.vmlinux import uncompressed_kernel
from harness.progress import Progress
from harness.settings import Settings, data_folder
from harness.verdict.lifecycle import Verdict, judge

CONNECT_SECONDS = 20.0
KVM_BOOT_SECONDS = 10.0  # a guest that KVM really runs is ready in under one
LOG_FOLDERS_KEPT = 20
PROGRAMS = ("init", "agent", "kmodctl")


@dataclass(frozen=True)
class Options:
    """What the user chose for a run."""

    accelerator: accelerators.Request = "auto"
    machine: str = "q35"
    make_arguments: tuple[str, ...] = ()
    reloads: int | None = None  # instead of what module.yaml says
    clone: bool = True  # start machines from a template where that works


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
        self._kernels: dict[str, Kernel] = {}
        self._builds: dict[tuple[Path, str], Build] = {}
        self._initramfs_of: dict[str, Path] = {}
        self._accelerator: Accelerator | None = None
        self._cloning = self.options.clone
        self._logs = self.settings.cache / "logs" / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}")
        self._kept: set[Path] = set()

    def kernel(self, spec: str) -> Kernel:
        """The kernel for a spec. Raises UsageError for a wrong one, HarnessError for one that cannot be had."""
        if spec not in self._kernels:
            self._kernels[spec] = resolve_kernel(spec, self.settings, self.progress)
        return self._kernels[spec]

    def build(self, pairs: Sequence[tuple[Module, Kernel]]) -> list[Build]:
        """Build modules and what they depend on, in parallel; the results in the order of `pairs`."""
        wanted = list(pairs)
        for module, kernel in pairs:
            wanted += [(needed, kernel) for needed in self.needed_modules(module)]
        missing = [pair for pair in dict.fromkeys(wanted) if (pair[0].path, pair[1].spec) not in self._builds]
        if missing:
            for build in build_all(missing, self.settings, self.progress, self.options.make_arguments):
                self._builds[build.module.path, build.kernel.spec] = build
        return [self._builds[module.path, kernel.spec] for module, kernel in pairs]

    def needed_modules(self, module: Module) -> list[Module]:
        """The modules that module.yaml wants loaded first, theirs before them, each once."""
        result: dict[Path, Module] = {}
        for name in module.expectation.depends:
            needed = load_module(str(module.path.parent / name))
            for one in (*self.needed_modules(needed), needed):
                result.setdefault(one.path, one)
        return list(result.values())

    def accelerator(self) -> Accelerator:
        """KVM or emulation: decided once, said once."""
        if self._accelerator is None:
            self._accelerator = accelerators.choose(self.options.accelerator, self.settings.cache)
            self.progress.note(f"accelerator {self._accelerator.name}: {self._accelerator.reason}")
        return self._accelerator

    def give_up_kvm(self, error: HarnessError) -> bool:
        """Go on under emulation after KVM has failed; False if KVM was not in use or was asked for."""
        if self.accelerator().name != "kvm" or self.options.accelerator != "auto":
            return False
        self.progress.note(f"KVM cannot run this guest, going on under emulation: {error.message}")
        self._accelerator = accelerators.distrust_kvm(self.settings.cache, error.message)
        return True

    @contextlib.contextmanager
    def boot(self, kernel: Kernel, label: str) -> Iterator[tuple[Machine, Guest]]:
        """Boot a fresh machine, connected. Under "auto", a KVM that cannot run it is replaced by TCG.

        label: names the folder of the logs; it goes, unless the context is left by an exception or
        `keep_logs` was called.
        """
        folder = self._logs / f"{kernel.spec}-{label}".replace("/", "_")
        with contextlib.ExitStack() as stack:
            try:
                pair = stack.enter_context(self._start(kernel, folder))
            except (BootError, GuestPausedError) as error:
                if not self.give_up_kvm(error):
                    raise
                pair = stack.enter_context(self._start(kernel, folder))
            yield pair
        if folder not in self._kept:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._logs.rmdir()  # when it was the last one

    def keep_logs(self, machine: Machine) -> None:
        """Keep the logs of a machine for the user to read."""
        self._kept.add(machine.console.path.parent)

    @contextlib.contextmanager
    def _start(self, kernel: Kernel, folder: Path) -> Iterator[tuple[Machine, Guest]]:
        """Clone a machine, or boot one where cloning does not work; connect to it."""
        recipe = self._recipe(kernel)
        self._make_log_folder(folder)
        with contextlib.ExitStack() as stack:
            machine = self._clone(recipe, folder, stack)
            if machine is None:
                seconds = KVM_BOOT_SECONDS if recipe.accelerator == "kvm" else BOOT_SECONDS
                cold = boot(recipe.spec, recipe.accelerator, recipe.files, folder, seconds=seconds)
                machine = stack.enter_context(cold)
            yield machine, Guest(stack.enter_context(connect_to(machine)))

    def _recipe(self, kernel: Kernel) -> Recipe:
        spec = load_machine_spec(self.options.machine)
        if spec.arch != kernel.arch:
            raise UsageError(f"machine {spec.name} runs {spec.arch}, kernel {kernel.spec} is for {kernel.arch}")
        image = uncompressed_kernel(kernel.image, self.settings.cache)
        files = BootFiles(image, self._initramfs(kernel, spec), kernel_command_line(spec, host_tsc_khz()))
        return Recipe(spec, self.accelerator().name, files)

    def _clone(self, recipe: Recipe, folder: Path, stack: contextlib.ExitStack) -> Machine | None:
        """A clone, entered into `stack`; None where there is to be none. A failing template is remade once."""
        for attempt in range(2):
            if not self._cloning:
                return None
            try:
                template = ensure(recipe, self.settings, self.progress, warm_up)
                return stack.enter_context(clone(template, folder))
            except CloneError as error:
                self.progress.note(f"{error.message}; " + ("booting instead" if attempt else "making it anew"))
                forget(recipe, self.settings)
        self._cloning = False
        return None

    def _make_log_folder(self, folder: Path) -> None:
        """Make it, empty; the oldest runs' logs go."""
        for old in sorted(self._logs.parent.glob("*"))[:-LOG_FOLDERS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def _initramfs(self, kernel: Kernel, spec: MachineSpec) -> Path:
        if kernel.spec not in self._initramfs_of:
            with self.progress.task(f"root file system for {kernel.spec}"):
                toolchain = resolve_toolchain(kernel, self.settings, self.progress)
                guest = data_folder() / "guest"
                programs = tuple(
                    build_program([guest / f"{name}.c"], toolchain, self.settings) for name in PROGRAMS
                )
                userland = unpack_guest_packages(self.settings, self.progress)
                self._initramfs_of[kernel.spec] = base_initramfs(
                    kernel, spec, userland, programs, self.settings.cache
                )
        return self._initramfs_of[kernel.spec]

    def check(self, module: Module, kernel: Kernel, stage: Callable[[str], None]) -> list[Checked]:
        """Take a module through its life, each .ko of its folder on a fresh machine.

        The module must have been built. stage: told what is being done. Raises HarnessError when no
        verdict is possible.
        """
        build = self._builds[module.path, kernel.spec]
        try:
            return [self._check_object(build, ko, stage) for ko in build.objects]
        except GuestPausedError as error:
            if not self.give_up_kvm(error):
                raise
            return self.check(module, kernel, stage)

    def _check_object(self, build: Build, ko: Path, stage: Callable[[str], None]) -> Checked:
        expectation = build.module.expectation
        if self.options.reloads is not None:
            expectation = replace(expectation, reloads=self.options.reloads)
        name = canonical(ko.name)
        stage("boot")
        with self.boot(build.kernel, name) as (machine, guest):
            needed = self.upload_needed(guest, build, ko)
            subject = Subject(name, guest.upload(ko), expectation.params)
            rounds = expectation.reloads if expectation.load == "ok" else 1
            observation = observe(guest, machine.console, subject, needed, rounds, stage=stage)
            verdict = judge(name, expectation, observation)
            if not verdict.passed:
                self.keep_logs(machine)
        return Checked(name, verdict, observation)

    def upload_needed(self, guest: Guest, build: Build, ko: Path) -> list[Subject]:
        """Copy into the guest what must be loaded before a .ko; in loading order.

        That is the kernel's own modules it uses, what module.yaml names, and its folder's other modules
        that it uses.
        """
        ours = [(one, one.expectation.params) for one in self.needed_modules(build.module)]
        objects: dict[str, tuple[Path, dict[str, str]]] = {}
        for module, parameters in ours:
            for path in self._builds[module.path, build.kernel.spec].objects:
                objects[canonical(path.name)] = (path, dict(parameters))
        siblings = {canonical(path.name): path for path in build.objects}
        for name in _siblings_used(ko, siblings):
            objects[name] = (siblings[name], {})
        in_tree: dict[str, bytes] = {}
        for path in (*(path for path, _ in objects.values()), ko):
            in_tree |= with_dependencies(build.kernel, dependencies(path.read_bytes()))
        loaded = guest.modules()
        result = []
        for name, image in in_tree.items():
            if name not in loaded and name not in objects:
                result.append(Subject(name, guest.upload_bytes(image, f"{name}.ko")))
        for name, (path, parameters) in objects.items():
            result.append(Subject(name, guest.upload(path), parameters))
        return result


def connect_to(machine: Machine) -> AbstractContextManager[SshRunner]:
    """An SSH connection to a machine of ours."""
    deadline = Deadline(CONNECT_SECONDS, "SSH connection")
    return connect(machine.port, machine.keys.host_key_blob(), machine.keys.client, machine, deadline)


def warm_up(machine: Machine) -> None:
    """Use a machine before it becomes a template: what is done once here, no clone has to do again."""
    with connect_to(machine) as runner:
        Guest(runner).log()


def _siblings_used(ko: Path, siblings: dict[str, Path]) -> list[str]:
    """Names of the modules of the same folder that a .ko uses, in loading order."""
    result: list[str] = []
    for name in dependencies(ko.read_bytes()):
        if name in siblings and siblings[name] != ko:
            result += [*_siblings_used(siblings[name], siblings), name]
    return list(dict.fromkeys(result))
