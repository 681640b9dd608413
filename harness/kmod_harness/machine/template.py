# SPDX-License-Identifier: MIT
"""Machines that are there at once: booted one time, saved with their memory, cloned copy-on-write.

A template is a folder with two files: `memory`, the guest's memory, which clones map privately, and `state`,
all else that QEMU knows of the machine (0.2 MB, since x-ignore-shared leaves the memory out). A clone needs
0.03 s until it runs. It starts as its template was, with the template's time and random state, and without
keys: nothing is said to it over the network before `personalise` has given it its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import GuestFailure, HarnessError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.machine.machine import AUTHORIZED_KEYS, HOST_KEY, Machine, boot, start_qemu
from kmod_harness.machine.qemu import BootFiles, Memory
from kmod_harness.machine.spec import MachineSpec

FORMAT = "1"  # of the folder and of what is done to the guest before it is saved
SAVE_SECONDS = 60.0
CLONE_SECONDS = 30.0
QUIET_SECONDS = 0.1  # after the last command, until the guest has nothing left to do
FOLDER = "templates"
LIMIT_BYTES = 2 << 30  # of all templates together; the least recently used go


class CloneError(HarnessError):
    """A template cannot be restored."""


@dataclass(frozen=True)
class Recipe:
    """All that a template depends on."""

    spec: MachineSpec
    accelerator: str
    files: BootFiles
    disk: Path | None = None  # with the kernel's own modules

    def key(self) -> str:
        """Changes whenever anything does that could make a saved machine useless, QEMU's program included."""
        qemu = shutil.which(self.spec.qemu)
        if qemu is None:
            raise process.MissingToolError(f"{self.spec.qemu} is not installed", hint="invoke doctor")
        identity = [FORMAT, json.dumps(asdict(self.spec)), self.accelerator]
        identity += [str(self.files.command_line)]
        for path in filter(None, (Path(qemu).resolve(), self.files.kernel, self.files.initramfs, self.disk)):
            status = path.stat()
            identity += [str(path), str(status.st_size), str(status.st_mtime_ns)]
        return store.digest(*identity)


@dataclass(frozen=True)
class Template:
    """A saved machine."""

    recipe: Recipe
    folder: Path
    boot_id: str  # of the boot that all clones come from

    @property
    def memory(self) -> Path:
        """The guest's memory."""
        return self.folder / "memory"

    @property
    def state(self) -> Path:
        """The rest of the machine."""
        return self.folder / "state"


def _load(recipe: Recipe, folder: Path) -> Template | None:
    """The template in a folder; None if there is none or it is not whole."""
    facts = store.read_json(folder / "template.json")
    try:
        template = Template(recipe, folder, facts["boot_id"])
        sizes = {name: (folder / name).stat().st_size for name in ("memory", "state")}
        return template if sizes == facts["sizes"] else None
    except (OSError, KeyError, TypeError):
        return None


def ensure(
    recipe: Recipe, settings: Settings, progress: Progress, warm_up: Callable[[Machine], None], logs: Path
) -> Template:
    """The template for a recipe, made if need be; two runs that need it at once make it once.

    warm_up: uses the machine before it is saved, so that clones need not do a thing for the first time.
    logs: folder that exists; receives console.log and qemu.log of a template that is made.
    Raises CloneError if this QEMU cannot restore what it has saved, and what `boot` raises.
    """
    key = recipe.key()
    folder = settings.cache / FOLDER / key
    template = _load(recipe, folder)
    if template is None:
        with store.locked(settings, f"template-{key}", progress):
            template = _load(recipe, folder) or _make(recipe, folder, progress, warm_up, logs)
        evict(folder.parent, keep=folder)
    with contextlib.suppress(OSError):
        os.utime(folder)  # for the eviction
    return template


def forget(recipe: Recipe, settings: Settings) -> None:
    """Remove a template that cannot be restored. Running clones keep their memory: it is mapped."""
    shutil.rmtree(settings.cache / FOLDER / recipe.key(), ignore_errors=True)


def evict(parent: Path, *, keep: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove the least recently used templates until the rest fit into `limit` bytes."""
    folders = sorted(
        (path for path in parent.iterdir() if not path.name.startswith(".")), key=_used, reverse=True
    )
    total = 0
    for folder in folders:
        total += sum(path.stat().st_blocks * 512 for path in folder.glob("*") if path.exists())
        if total > limit and folder != keep:
            shutil.rmtree(folder, ignore_errors=True)


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _make(
    recipe: Recipe, folder: Path, progress: Progress, warm_up: Callable[[Machine], None], logs: Path
) -> Template:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with progress.task("machine template"), store.publishing(folder) as part:
        memory = Memory(part / "memory", shared=True)
        cold = boot(recipe.spec, recipe.accelerator, recipe.files, logs, memory=memory, disk=recipe.disk)
        with cold as machine, _as_clone_error("no template"):
            warm_up(machine)
            boot_id = _save(machine, part / "state")
        template = Template(recipe, part, boot_id)
        with clone(template, logs):
            pass  # it can be restored
        sizes = {name: (part / name).stat().st_size for name in ("memory", "state")}
        (part / "template.json").write_text(json.dumps({"boot_id": boot_id, "sizes": sizes}), encoding="utf-8")
    return Template(recipe, folder, boot_id)


def _ignore_shared_memory(machine: Machine, deadline: Deadline) -> None:
    capability = {"capability": "x-ignore-shared", "state": True}
    machine.monitor.execute("migrate-set-capabilities", deadline, capabilities=[capability])


def _save(machine: Machine, path: Path) -> str:
    """Stop the machine and write its state; returns its boot id."""
    deadline = Deadline(SAVE_SECONDS, "saving the machine")
    for secret in (HOST_KEY, AUTHORIZED_KEYS):
        machine.agent.write(secret, b"", 0o600, deadline)
    boot_id = machine.agent.boot_id(deadline)
    time.sleep(QUIET_SECONDS)
    machine.monitor.execute("stop", deadline)
    _ignore_shared_memory(machine, deadline)
    machine.monitor.execute("migrate", deadline, uri=f"exec:cat > {shlex.quote(str(path))}")
    while (status := machine.monitor.execute("query-migrate", deadline)["status"]) != "completed":
        if status in ("failed", "cancelled"):
            raise CloneError(f"QEMU cannot save the machine: {status}", log=machine.console.path)
        deadline.check()
        time.sleep(0.002)
    return boot_id


@contextlib.contextmanager
def _as_clone_error(what: str) -> Iterator[None]:
    """Whatever goes wrong with a template or clone has one way out: another template, or a cold boot."""
    try:
        yield
    except (GuestFailure, HarnessError) as error:
        process.check_cancelled()
        raise CloneError(f"{what}: {error.message}", evidence=error.evidence, log=error.log) from error


@contextlib.contextmanager
def clone(template: Template, folder: Path, *, seconds: float = CLONE_SECONDS) -> Iterator[Machine]:
    """Start a clone and yield it when it has its own keys, time and randomness.

    folder: exists, receives console.log and qemu.log. Raises CloneError with the reason.
    """
    deadline = Deadline(seconds, "restoring a machine")
    memory = Memory(template.memory, shared=False)
    recipe = template.recipe
    with contextlib.ExitStack() as stack:
        with _as_clone_error("no clone"):
            qemu = start_qemu(recipe.spec, recipe.accelerator, None, folder, deadline, memory, recipe.disk)
            machine = stack.enter_context(qemu)
            _restore(machine, template, deadline)
        yield machine


def _restore(machine: Machine, template: Template, deadline: Deadline) -> None:
    _ignore_shared_memory(machine, deadline)
    machine.monitor.execute("migrate-incoming", deadline, uri=f"exec:cat {shlex.quote(str(template.state))}")
    while (status := machine.monitor.execute("query-status", deadline)["status"]) == "inmigrate":
        deadline.check()
        time.sleep(0.001)
    if status != "running":  # it was saved stopped
        machine.monitor.execute("cont", deadline)
    machine.monitor.events()  # the restore's own STOP and RESUME mean nothing
    boot_id = machine.agent.boot_id(deadline)
    if boot_id != template.boot_id:
        raise CloneError(f"a foreign machine answers: boot {boot_id}, not {template.boot_id}")
    machine.personalise(deadline)
