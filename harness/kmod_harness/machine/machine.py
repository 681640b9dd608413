# SPDX-License-Identifier: MIT
"""One virtual machine, from QEMU's start to its end. If the object exists, the guest is ready for SSH."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Failure, GuestPanic, HarnessError
from kmod_harness.machine.agent import Agent
from kmod_harness.machine.console import Console
from kmod_harness.machine.keys import MachineKeys
from kmod_harness.machine.monitor import Monitor, MonitorError
from kmod_harness.machine.qemu import BootFiles, Memory, qemu_argv
from kmod_harness.machine.spec import MachineSpec

F = TypeVar("F", bound=Failure)

BOOT_SECONDS = {"kvm": 10.0, "tcg": 60.0}  # a guest that KVM really runs is ready in under one
# Paths of the guest.
HOST_KEY = "/etc/dropbear/dropbear_ed25519_host_key"
AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"
POLL_SECONDS = 0.005
# How long the cause of a broken connection may take to show on the console or in QEMU's exit.
DIAGNOSIS_SECONDS = 2.0


class BootError(HarnessError):
    """The guest never became ready."""


class QemuDiedError(HarnessError):
    """QEMU ended although the guest did not ask for it."""


class GuestPausedError(HarnessError):
    """QEMU has stopped the guest: the accelerator cannot run it ("KVM internal error")."""


class Machine:
    """A running QEMU: console, monitor, keys, SSH port. Made by `boot`."""

    def __init__(
        self,
        qemu: process.Process,
        monitor: Monitor,
        console: Console,
        agent: socket.socket,
        accelerator: str,
        port: int,
    ) -> None:
        self._qemu = qemu
        self.monitor = monitor
        self.console = console
        self.agent = Agent(agent, self.check)
        self.keys = MachineKeys()
        self.accelerator = accelerator
        self.port = port  # on loopback, leads to the guest's SSH server
        self._reset = False  # the guest asked for a reset or power-off

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._qemu.pid

    def check(self) -> None:
        """Return if the guest can still be running; raise what ended it otherwise. Never waits."""
        process.check_cancelled()
        panic = self.console.panic()
        if panic:
            self._settle()
            raise self._failure(GuestPanic, panic)
        self._read_events()
        if self._qemu.poll() is not None:
            self._raise_ended()

    def diagnose(self) -> None:
        """Called when the connection broke: wait a moment for the cause and raise it; return if none shows."""
        end = time.monotonic() + DIAGNOSIS_SECONDS
        while time.monotonic() < end:
            self.check()
            time.sleep(POLL_SECONDS)

    def wait_ready(self, deadline: Deadline) -> None:
        """Wait until the guest accepts SSH connections, or tell why it never will."""
        while not self.console.ready():
            self.check()
            if deadline.expired():
                raise self._failure(
                    BootError, f"the guest was not ready after {deadline.seconds:.0f} s ({self.accelerator})"
                )
            time.sleep(POLL_SECONDS)

    def move_logs(self, folder: Path) -> Path:
        """Give the folder of console.log and qemu.log another name, which is returned; QEMU goes on writing."""
        self.console.path.parent.rename(folder)
        self.console.path = folder / self.console.path.name
        return folder

    def personalise(self, deadline: Deadline) -> None:
        """Give the guest what only this machine has: keys, the time, randomness."""
        self.agent.settle(deadline)
        self.agent.write(HOST_KEY, self.keys.dropbear_host_key(), 0o600, deadline)
        self.agent.write(AUTHORIZED_KEYS, self.keys.authorized_key().encode(), 0o600, deadline)

    def _settle(self) -> None:
        """After a panic the guest resets and QEMU exits; its last lines come until then."""
        process.wait(self._qemu, DIAGNOSIS_SECONDS)

    def _read_events(self) -> None:
        try:
            events = self.monitor.events()
        except MonitorError:
            return  # QEMU is going away: its exit tells the rest
        for event in events:
            if event["event"] == "SHUTDOWN":
                self._reset = bool(event["data"].get("guest"))
            if event["event"] == "STOP" and not self._reset:
                raise self._failure(GuestPausedError, f"QEMU stopped the guest under {self.accelerator}")

    def _raise_ended(self) -> None:
        self._read_events()
        panic = self.console.panic()
        if panic:
            raise self._failure(GuestPanic, panic)
        if self._reset:
            raise self._failure(GuestPanic, "the guest reset itself or powered off (a triple fault does that)")
        code = self._qemu.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise self._failure(QemuDiedError, f"QEMU ended: {how}")

    def _failure(self, kind: type[F], message: str) -> F:
        return kind(message, evidence=self.console.tail(), log=self.console.path)


def _forwarded_port(monitor: Monitor, deadline: Deadline) -> int:
    """The loopback port that the host's kernel picked, from the monitor's table of connections."""
    table = monitor.human("info usernet", deadline)
    match = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", table)
    if not match:
        raise HarnessError("QEMU does not tell the forwarded port", evidence=table.splitlines())
    return int(match[1])


@contextlib.contextmanager
def boot(
    spec: MachineSpec,
    accelerator: str,
    files: BootFiles,
    folder: Path,
    *,
    memory: Memory | None = None,
    disk: Path | None = None,
) -> Iterator[Machine]:
    """Boot a machine and yield it when the guest accepts SSH; QEMU has ended when the context is left.

    folder: exists, receives console.log and qemu.log.
    Raises BootError, GuestPausedError, QemuDiedError, GuestPanic.
    """
    deadline = Deadline(BOOT_SECONDS[accelerator], "boot")
    with start_qemu(spec, accelerator, files, folder, deadline, memory, disk) as machine:
        machine.wait_ready(deadline)
        machine.personalise(deadline)
        yield machine


@contextlib.contextmanager
def start_qemu(
    spec: MachineSpec,
    accelerator: str,
    files: BootFiles | None,
    folder: Path,
    deadline: Deadline,
    memory: Memory | None = None,
    disk: Path | None = None,
) -> Iterator[Machine]:
    """Start QEMU and connect to its monitor and to the agent's port, whoever answers there."""
    with contextlib.ExitStack() as stack:

        def pair() -> tuple[socket.socket, socket.socket]:
            ends = socket.socketpair()
            for end in ends:
                stack.callback(end.close)
            return ends

        (monitor_ours, monitor_qemus), (agent_ours, agent_qemus) = pair(), pair()
        console = Console(folder / "console.log")
        stack.callback(console.close)
        inherited = (monitor_qemus.fileno(), agent_qemus.fileno())
        argv = qemu_argv(
            spec,
            accelerator,
            files,
            monitor_fd=inherited[0],
            agent_fd=inherited[1],
            console=console.path,
            memory=memory,
            disk=disk,
        )
        errors = stack.enter_context((folder / "qemu.log").open("wb"))
        qemu = process.start(argv, stdout=errors, pass_fds=inherited)
        stack.callback(process.end, qemu)
        monitor_qemus.close()
        agent_qemus.close()
        try:
            monitor = Monitor(monitor_ours, deadline)
        except MonitorError as error:
            message = (folder / "qemu.log").read_text(errors="replace", encoding="utf-8").splitlines()
            raise QemuDiedError("QEMU does not start", evidence=message[-10:]) from error
        stack.callback(monitor.close)
        yield Machine(qemu, monitor, console, agent_ours, accelerator, _forwarded_port(monitor, deadline))
