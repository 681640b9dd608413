# SPDX-License-Identifier: MIT
"""The virtual machines of one run: which accelerator, cloned or booted, shared or fresh, spares, logs."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Failure, HarnessError, UsageError
from kmod_harness.base.parallel import cores
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import DATA, Settings
from kmod_harness.kbuild.program import build_program
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.packages import unpack_guest_packages
from kmod_harness.machine import accelerator as accelerators
from kmod_harness.machine.accelerator import Accelerator
from kmod_harness.machine.initramfs import base_initramfs
from kmod_harness.machine.machine import (
    BootError,
    GuestPausedError,
    Machine,
    QemuDiedError,
    boot,
)
from kmod_harness.machine.module_tree import can_mount, module_tree
from kmod_harness.machine.qemu import BootFiles, host_tsc_khz, kernel_command_line
from kmod_harness.machine.spec import MachineSpec, load_machine_spec
from kmod_harness.machine.template import CloneError, Recipe, clone, ensure, forget
from kmod_harness.machine.vmlinux import uncompressed_kernel
from kmod_harness.module.devices import Device, device_words
from kmod_harness.module.vocabulary import taint_bits
from kmod_harness.run.pool import Pool
from kmod_harness.target.guest import Guest
from kmod_harness.target.own import OwnRunner
from kmod_harness.target.ssh import SshRunner, connect

CONNECT_SECONDS = 20.0
LOG_FOLDERS_KEPT = 20
GUEST_SOURCES = DATA / "guest"
KMODCTL = tuple(GUEST_SOURCES / name for name in ("kmodctl.c", "census.c", "waiting.c"))
PROGRAMS = ([GUEST_SOURCES / "init.c"], [GUEST_SOURCES / "agent.c"], KMODCTL)  # each from its sources
MODPROBE = "/sbin/modprobe"  # kmod's, as the kernel calls it; the one of busybox knows no soft dependencies
FIND_TRIES = 100  # tenths of a second, in the guest, for devices to be found
MEMINFO = Path("/proc/meminfo")
MACHINE_MEMORY = 512  # MiB that a machine may take on this host, QEMU and page cache included
CRASHED = "DWLBM"  # taint flags of a kernel that no further test should meet

Isolation = Literal["test", "module", "kernel"]
Pair = tuple[Machine, Guest]


def default_jobs() -> int:
    """How many machines at a time: one for each core, as far as memory goes."""
    return max(1, min(cores(), _available_memory() // MACHINE_MEMORY))


def _available_memory() -> int:
    """MiB that programs can have: what is free, and what the page cache gives back (proc(5), MemAvailable)."""
    match = re.search(r"^MemAvailable: +(\d+) kB$", MEMINFO.read_text(encoding="utf-8"), re.MULTILINE)
    return int(match[1]) >> 10 if match else 0


def default_spares() -> int:
    """How many machines are kept ready beside the one at work: what another core and free memory can carry."""
    return min(2, cores() - 1, default_jobs() - 1)


@dataclass(frozen=True)
class MachineOptions:
    """What the user chose for the machines of a run."""

    accelerator: accelerators.Request = "auto"
    machine: str = "q35"
    isolation: Isolation = "test"  # who gets a machine of its own
    cold: bool = False  # boot each, though it could be cloned from a template
    spares: int = 0  # how many are kept ready beside those at work
    kernel_arguments: tuple[str, ...] = ()  # more for the kernel's command line


class Fleet:
    """Gives out machines. May be used by several threads. UsageError for a machine that there is not."""

    def __init__(self, settings: Settings, progress: Progress, options: MachineOptions) -> None:
        self.options = options
        self._spec = load_machine_spec(options.machine)
        self._settings = settings
        self._progress = progress
        self._lock = threading.RLock()  # what is made once is asked for by several threads
        self._recipes: dict[Kernel, Recipe] = {}
        self._cold: set[Kernel] = set()  # kernels whose templates do not work
        self._accelerator: Accelerator | None = None
        self._kvm_failed = False
        self._shared: dict[Hashable, tuple[Pair, ExitStack]] = {}
        self._pool: Pool[Kernel, Pair] = Pool(self._spare_machine, _alive, options.spares)
        self._logs = settings.cache / "logs" / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}")
        self._numbers = itertools.count(1)
        self._kept: set[Path] = set()
        for old in sorted(self._logs.parent.glob("*"))[:-LOG_FOLDERS_KEPT]:
            if not Path("/proc", old.name.rpartition("-")[2]).exists():  # else that run is still writing
                shutil.rmtree(old, ignore_errors=True)

    def close(self) -> None:
        """End the machines that are still there."""
        self._pool.close()
        for key in list(self._shared):
            self._drop(key)

    def expect(self, kernel: Kernel, count: int) -> None:
        """So many more machines will be asked for: spares may be prepared."""
        if self.options.isolation == "test":
            self._pool.expect(kernel, count)

    # ---- giving out ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def machine(
        self, kernel: Kernel, label: str, group: str = "", devices: Sequence[Device] = ()
    ) -> Iterator[Pair]:
        """A machine, connected: fresh, or under weaker isolation one that its group has used and left well.

        label: names the folder of its logs, which goes unless the context is left by an exception or
        `keep_logs` was called. group: what shares machines under isolation "module", e.g. a file's name.
        devices: that it has besides; such a machine is booted, and nobody else gets it. HarnessError when the
        kernel does not find them.
        """
        if devices or self.options.isolation == "test":
            with self._own(kernel, label, devices) as pair:
                find_devices(pair[1], kernel, devices)
                yield pair
            return
        key = (kernel, group if self.options.isolation == "module" else "", threading.get_ident())
        if key in self._shared and not _alive(self._shared[key][0]):
            self._drop(key)
        if key not in self._shared:
            stack = ExitStack()
            self._shared[key] = (stack.enter_context(self._own(kernel, label)), stack)
        pair = self._shared[key][0]
        modules = set(pair[1].modules())
        try:
            yield pair
        except BaseException:
            self._drop(key)
            raise
        if not _reusable(pair, modules):
            self._drop(key)

    def keep_logs(self, machine: Machine) -> None:
        """Keep the logs of a machine for the user to read."""
        self._kept.add(machine.console.path.parent)

    @contextlib.contextmanager
    def _own(self, kernel: Kernel, label: str, devices: Sequence[Device] = ()) -> Iterator[Pair]:
        with ExitStack() as stack:
            spare = None if devices else self._spare(kernel, stack)
            pair = spare or stack.enter_context(self._fresh(kernel, devices))
            folder = pair[0].move_logs(self._unused(f"{kernel.spec}-{label}"))
            yield pair
        if folder not in self._kept:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._logs.rmdir()  # when it was the last one

    def _spare(self, kernel: Kernel, stack: ExitStack) -> Pair | None:
        spare = self._pool.take(kernel)
        if spare is None:
            return None
        stack.push(spare[1])
        return spare[0]

    def _drop(self, key: Hashable) -> None:
        if key in self._shared:
            self._shared.pop(key)[1].close()

    def _unused(self, name: str) -> Path:
        """A folder for logs that does not exist yet; names are only for people."""
        return self._logs / f"{next(self._numbers):03}-{name.replace('/', '_')}"

    # ---- making ----------------------------------------------------------------------------------------

    def accelerator(self) -> Accelerator:
        """KVM or emulation: decided once, said once."""
        with self._lock:
            if self._accelerator is None:
                self._accelerator = accelerators.choose(self.options.accelerator, self._settings.cache)
                self._progress.note(f"accelerator {self._accelerator.name}: {self._accelerator.reason}")
            return self._accelerator

    def give_up_kvm(self, error: HarnessError) -> bool:
        """Go on under emulation after KVM has failed; False if KVM was not in use, or was asked for."""
        with self._lock:
            if self.options.accelerator == "auto" and self.accelerator().name == "kvm":
                self._progress.note(f"KVM cannot run this guest, going on under emulation: {error.message}")
                self._accelerator = accelerators.distrust_kvm(self._settings.cache, error.message)
                self._recipes.clear()
                self._kvm_failed = True
            return self._kvm_failed

    @contextlib.contextmanager
    def _fresh(self, kernel: Kernel, devices: Sequence[Device] = ()) -> Iterator[Pair]:
        """A machine that nobody has used. Under "auto", a KVM that cannot run it is replaced by TCG."""
        with ExitStack() as stack:
            accelerator = self.accelerator().name
            try:
                pair = stack.enter_context(self._start(kernel, devices))
            except (BootError, GuestPausedError, QemuDiedError) as error:
                if accelerator != "kvm" or not self.give_up_kvm(error):
                    raise
                pair = stack.enter_context(self._start(kernel, devices))
            yield pair

    @contextlib.contextmanager
    def _spare_machine(self, kernel: Kernel) -> Iterator[Pair]:
        """A machine for the pool, in which a first command has run: QEMU has translated what the next needs."""
        with self._fresh(kernel) as pair:
            pair[1].taint()
            yield pair

    @contextlib.contextmanager
    def _start(self, kernel: Kernel, devices: Sequence[Device] = ()) -> Iterator[Pair]:
        """Clone a machine, or boot one where cloning does not work; connect to it.

        One with devices is booted: QEMU does not save the state of all kinds.
        """
        with ExitStack() as stack:
            with store.explained(self._settings):
                recipe = _with_devices(self._recipe(kernel), devices)
                folder = self._unused(kernel.spec)
                folder.mkdir(parents=True)
                machine = None if devices else self._clone(kernel, recipe, folder, stack)
                if machine is None:
                    cold = boot(recipe.spec, recipe.accelerator, recipe.files, folder, disk=recipe.disk)
                    machine = stack.enter_context(cold)
            runner = OwnRunner(stack.enter_context(connect_to(machine)), machine.agent)
            yield machine, Guest(runner, machine.console)

    def _clone(self, kernel: Kernel, recipe: Recipe, folder: Path, stack: ExitStack) -> Machine | None:
        """A clone, entered into `stack`; None where there is to be none. A failing template is remade once."""
        for what_next in ("making the template anew", "booting instead"):
            if self.options.cold or kernel in self._cold:
                return None
            try:
                template = ensure(recipe, self._settings, self._progress, warm_up, folder)
                return stack.enter_context(clone(template, folder))
            except (CloneError, QemuDiedError) as error:
                process.check_cancelled()
                if isinstance(error, QemuDiedError) and recipe.accelerator == "kvm":
                    raise  # no matter of the template: KVM itself may be unusable
                self._progress.note(f"{error.message}; {what_next}")
                forget(recipe, self._settings)
        self._cold.add(kernel)
        return None

    def _recipe(self, kernel: Kernel) -> Recipe:
        with self._lock:
            if kernel not in self._recipes:
                spec = self._spec
                if spec.arch != kernel.arch:
                    raise UsageError(
                        f"machine {spec.name} runs {spec.arch}, {kernel.spec} is for {kernel.arch}"
                    )
                image = uncompressed_kernel(kernel.image, self._settings.cache)
                parameters = kernel_command_line(spec, host_tsc_khz(), self.options.kernel_arguments)
                files = BootFiles(image, self._initramfs(kernel, spec), parameters)
                disk = module_tree(kernel, self._settings, self._progress) if can_mount(kernel) else None
                self._recipes[kernel] = Recipe(spec, self.accelerator().name, files, disk)
            return self._recipes[kernel]

    def _initramfs(self, kernel: Kernel, spec: MachineSpec) -> Path:
        with self._progress.task(f"root file system for {kernel.spec}"):
            toolchain = resolve_toolchain(kernel, self._settings, self._progress)
            programs = tuple(build_program(sources, toolchain, self._settings) for sources in PROGRAMS)
            userland = unpack_guest_packages(self._settings, self._progress)
            return base_initramfs(kernel, spec, userland, programs, self._settings.cache)


def _with_devices(recipe: Recipe, devices: Sequence[Device]) -> Recipe:
    if not devices:
        return recipe
    if recipe.spec.device_bus != "pci":
        raise UsageError(
            f"machine {recipe.spec.name} has no PCI bus for {', '.join(one.name for one in devices)}",
            hint="--machine q35",
        )
    return replace(recipe, spec=replace(recipe.spec, devices=device_words(devices)))


def find_devices(guest: Guest, kernel: Kernel, devices: Sequence[Device]) -> None:
    """Make the kernel look for the devices, and wait until it has them. HarnessError when it does not."""
    buses = Counter(one.bus for one in devices if one.bus.module)
    for bus, count in buses.items():
        guest.run(MODPROBE, "-q", bus.module, check=False)  # it may be built in
        counted = f'set -- {bus.found}; [ -e "$1" ] && [ $# -ge {count} ]'
        wait = f"for i in $(seq {FIND_TRIES}); do {counted} && exit; sleep 0.1; done; exit 1"
        if guest.run("sh", "-c", wait, check=False).returncode != 0:
            raise HarnessError(
                f"{kernel.release} does not find {', '.join(one.name for one in devices if one.bus == bus)}: "
                f"does it have {bus.module}?",
                hint="--kernel 6.12 (the ordinary flavour has all drivers)",
            )


def connect_to(machine: Machine) -> AbstractContextManager[SshRunner]:
    """An SSH connection to a machine of ours."""
    deadline = Deadline(CONNECT_SECONDS, "SSH connection")
    return connect(machine.port, machine.keys.host_key_blob(), machine.keys.client, machine, deadline)


def warm_up(machine: Machine) -> None:
    """Use a machine before it becomes a template: what is done once here, no clone has to do again."""
    with connect_to(machine) as runner:
        guest = Guest(runner)
        guest.log()
        guest.take_census()


def _alive(pair: Pair) -> bool:
    """Whether a machine that waited is still there."""
    try:
        pair[0].check()
    except Failure:
        return False
    return pair[1].runner.alive()


def _reusable(pair: Pair, modules: set[str]) -> bool:
    """Whether a machine was left as it was found: same modules, no crash that the guard has not ended."""
    try:
        guest = pair[1]
        crashed = guest.taint() & taint_bits(CRASHED)
        if crashed == taint_bits("D") and guest.oops_count() == 0:
            crashed = 0
        return set(guest.modules()) == modules and not crashed
    except Failure:
        return False
