# SPDX-License-Identifier: MIT
"""Every answer of delete_module, init_module and finit_module, on a fresh machine and on a rescued one.

CASES is the table. No Debian release of vm/kernels.yaml packages a public kernel test suite with module tests
(their package lists have neither LTP nor the kernel's selftests; the kmod package's own tests run against fakes
of the system calls). So what LTP's cases assert is in the table, where `yardstick` names the case.
"""

from __future__ import annotations

import contextlib
import errno
import lzma
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.expectation import kernel_matches
from kmod_harness.module.module import resolve_module
from kmod_harness.module.vocabulary import taint_bits
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.splats import find_splats
from tests.patience import wait_until

pytestmark = [pytest.mark.vm, pytest.mark.spread]

PARAMETERS = "/sys/module/states/parameters"
STATES, DEPEND_A, TEXT, EMPTY = "/tmp/states.ko", "/tmp/depend_a.ko", "/tmp/text", "/tmp/empty"
CUT, PACKED = "/tmp/cut.ko", "/tmp/states.ko.xz"
KERNEL_POINTER = "@ffff888000000000"
CALLS = ("delete", "init", "finit")
COMPRESSED = "4"  # MODULE_INIT_COMPRESSED_FILE


@dataclass(frozen=True)
class Case:
    """One call and its answer."""

    name: str
    call: str  # words for kmodctl; '' is an empty one
    answer: str  # errno name, or OK
    given: str = ""  # a name in SITUATIONS
    instead: Mapping[str, str] = field(default_factory=dict)  # kernels (as in module.yaml) -> other answer
    yardstick: str = ""  # the case of LTP that asserts the same
    forced: bool = False  # sets taint R

    def __str__(self) -> str:
        return f"{next(word for word in self.call.split() if word in CALLS)}: {self.name}"

    def expected(self, release: str) -> str:
        """The answer on a kernel; names of the same number are the same."""
        name = next((one for some, one in self.instead.items() if kernel_matches(some, release)), self.answer)
        return name if name == OK else errno.errorcode[getattr(errno, name)]


DELETE = (
    # In the order in which the kernel decides.
    Case("no capability", "bare delete states n", "EPERM", "live", yardstick="delete_module02 no capability"),
    Case("no capability, forced", "bare delete states nf", "EPERM", "live"),
    Case("name: bad pointer", "delete @1 n", "EFAULT", yardstick="delete_module02 outside address space"),
    Case("name: null pointer", "delete @0 n", "EFAULT"),
    Case("name: the kernel's memory", f"delete {KERNEL_POINTER} n", "EFAULT"),
    Case("bad pointer, no capability", "bare delete @1 n", "EPERM"),
    Case("lock held, then a signal", "alarm delete states n", "EINTR", "lock held"),
    Case("lock held, unknown name", "alarm delete nosuch n", "EINTR", "lock held"),
    Case("name: unknown", "delete nosuch n", "ENOENT", yardstick="delete_module02 non-existing module"),
    Case("name: empty", "delete '' n", "ENOENT", yardstick="delete_module02 null terminated module name"),
    Case("name: overlong", f"delete {'m' * 4097} n", "ENOENT", yardstick="delete_module02 long module name"),
    Case("name: 55 bytes, the longest", f"delete {'m' * 55} n", "ENOENT"),
    Case("name: 56 bytes", f"delete {'m' * 56} n", "ENOENT"),
    Case("name: dash for underscore", "delete depend-s n", "ENOENT", "used"),
    Case("used by a module", "delete depend_s n", "EWOULDBLOCK", "used", yardstick="delete_module03"),
    Case("used by a module, forced", "delete depend_s nf", "EWOULDBLOCK", "used"),
    Case("coming", "delete states n", "EBUSY", "coming"),
    Case("coming, forced", "delete states nf", "EBUSY", "coming"),
    Case("going", "delete states n", "EBUSY", "going"),
    Case("going, forced", "delete states nf", "EBUSY", "going"),
    Case("no exit function", "delete states n", "EBUSY", "no exit"),
    Case("no exit function, pinned", "delete states n", "EBUSY", "no exit, pinned"),
    Case("no exit function, forced", "delete states nf", OK, "no exit", forced=True),
    Case("count above zero", "delete states n", "EWOULDBLOCK", "pinned"),
    Case("count above zero, may wait", "delete states", "EWOULDBLOCK", "pinned"),  # no kernel waits since 3.13
    Case("count above zero, forced", "delete states nf", OK, "pinned", forced=True),
    Case("unused", "delete states n", OK, "live", yardstick="delete_module01"),
    Case("unused, may wait", "delete states", OK, "live"),
    Case("unused, forced", "delete states nf", OK, "live"),
)
INIT = (
    Case("good", f"init {STATES}", OK, yardstick="init_module01"),
    Case("no capability", f"bare init {STATES}", "EPERM", yardstick="init_module02 no-perm"),
    Case("image: null pointer", "init @0", "EFAULT", yardstick="init_module02 NULL-buffer"),
    Case("image: bad pointer", "init @1", "EFAULT", yardstick="init_module02 faulty-buffer"),
    Case("image: the kernel's memory", f"init {KERNEL_POINTER}", "EFAULT"),
    Case("image: size 0", f"init empty={STATES}", "ENOEXEC", yardstick="init_module02 zero-size"),
    Case("image: text", f"init {TEXT}", "ENOEXEC"),
    Case("image: cut off", f"init {CUT}", "ENOEXEC"),
    Case("image: packed", f"init {PACKED}", "ENOEXEC"),
    Case("parameters: null pointer", f"init {STATES} @0", "EFAULT", yardstick="init_module02 null-param"),
    Case("parameters: bad pointer", f"init {STATES} @1", "EFAULT"),
    Case("parameters: bad value", f"init {STATES} error=x", "EINVAL", yardstick="init_module02 invalid_param"),
    Case("parameters: unknown", f"init {STATES} nosuch=1", OK),  # only a line in the log, since 3.11
    Case("symbol of a module that is not there", f"init {DEPEND_A}", "ENOENT"),
    Case("init returns an error", f"init {STATES} error=5", "EIO"),
    Case("there already", f"init {STATES}", "EEXIST", "live", yardstick="init_module02 module-exists"),
    Case("one is coming, then a signal", f"alarm init {STATES}", "EINTR", "coming"),
    Case("one is going", f"init {STATES}", "EBUSY", "going"),  # at once
)
FINIT = (
    Case("good", f"finit {STATES}", OK, yardstick="finit_module01"),
    Case("no capability", f"bare finit {STATES}", "EPERM", yardstick="finit_module02 no-perm"),
    Case("descriptor: -1", "finit fd=-1", "EBADF", yardstick="finit_module02 invalid-fd"),
    Case("descriptor: not open", "finit fd=999", "EBADF"),
    Case("descriptor: a pipe", "finit fd=0", "EINVAL", yardstick="finit_module02 zero-fd"),
    Case("descriptor: a directory", "finit /tmp", "EINVAL", yardstick="finit_module02 directory"),
    Case("open for writing", f"finit w={STATES}", "EBADF", yardstick="finit_module02 file-not-readable"),
    Case(
        "open for reading and writing",
        f"finit rw={STATES}",
        "ETXTBSY",
        yardstick="finit_module02 file-readwrite",
    ),
    Case("somebody else writes", f"finit {STATES}", "ETXTBSY", "writer"),
    Case("file: empty", f"finit {EMPTY}", "EINVAL"),
    Case("file: text", f"finit {TEXT}", "ENOEXEC"),
    Case("file: cut off", f"finit {CUT}", "ENOEXEC"),
    Case("file: packed", f"finit {PACKED}", "ENOEXEC"),
    Case(
        "file: packed, and so flagged",
        f"finit {PACKED} '' {COMPRESSED}",
        OK,
        instead={"<5.17": "EINVAL", "<6.12": "EOPNOTSUPP"},
    ),
    Case(
        "flagged as packed, but is not",
        f"finit {STATES} '' {COMPRESSED}",
        "EINVAL",
        instead={"<5.17": "EINVAL", "<6.12": "EOPNOTSUPP"},
    ),
    Case("flags: unknown", f"finit {STATES} '' -1", "EINVAL", yardstick="finit_module02 invalid-flags"),
    Case("flags: unknown, no capability", f"bare finit {STATES} '' -1", "EPERM"),
    Case("parameters: null pointer", f"finit {STATES} @0", "EFAULT", yardstick="finit_module02 null-param"),
    Case("parameters: bad pointer", f"finit {STATES} @1", "EFAULT"),
    Case(
        "parameters: bad value", f"finit {STATES} error=x", "EINVAL", yardstick="finit_module02 invalid-param"
    ),
    Case("symbol of a module that is not there", f"finit {DEPEND_A}", "ENOENT"),
    Case("init returns an error", f"finit {STATES} error=5", "EIO"),
    Case("there already", f"finit {STATES}", "EEXIST", "live", yardstick="finit_module02 module-exists"),
    Case("one is coming, then a signal", f"alarm finit {STATES}", "EINTR", "coming"),
    Case("one is going", f"finit {STATES}", "EBUSY", "going"),  # at once
)
# These can only be switched on, never off: they come last.
LAST = (
    Case("not signed, locked down", f"init {STATES}", "EPERM", "locked down"),
    Case("not signed, locked down", f"finit {STATES}", "EPERM", "locked down"),
    Case(
        "not signed, but it must be",
        f"init {STATES}",
        "EKEYREJECTED",
        "signatures",
        yardstick="init_module02 module-unsigned",
    ),
    Case(
        "not signed, but it must be",
        f"finit {STATES}",
        "EKEYREJECTED",
        "signatures",
        yardstick="finit_module02 module-unsigned",
    ),
    Case("modules disabled", "delete nosuch n", "EPERM", "disabled"),
    Case("modules disabled, bad pointer", "delete @1 n", "EPERM", "disabled"),
    Case("modules disabled", f"init {STATES}", "EPERM", "disabled"),
    Case("modules disabled", f"finit {STATES}", "EPERM", "disabled"),
)
CASES = (*DELETE, *INIT, *FINIT, *LAST)


# ---- situations ------------------------------------------------------------------------------------------


def background(guest: Guest, command: str) -> str:
    """Start a shell command that goes on; its process id."""
    script = f"({command}) > /dev/null 2>&1 < /dev/null & echo $!"
    return guest.run("sh", "-c", script).output.strip()


def logged(guest: Guest, since: int, text: str) -> bool:
    """Whether a line came since a mark; unlike /proc/modules, it can be asked while the lock is held."""
    return any(record.text == f"states: {text}" for record in guest.log(since))


@contextlib.contextmanager
def with_states(guest: Guest, parameters: str = "") -> Iterator[None]:
    """The module states is there; whatever became of it, it is not afterwards."""
    assert guest.system_call("init", STATES, parameters) == OK
    yield
    if "states" in guest.modules():
        for name in ("pins", "no_exit"):
            assert guest.write(f"{PARAMETERS}/{name}", "0") == OK
        assert guest.unload("states") == OK


@contextlib.contextmanager
def used(guest: Guest) -> Iterator[None]:
    for name in ("depend_s", "depend_a"):
        assert guest.load(f"/tmp/{name}.ko") == OK
    yield
    for name in ("depend_a", "depend_s"):
        assert guest.unload(name) == OK


@contextlib.contextmanager
def coming(guest: Guest) -> Iterator[None]:
    # Through the call that keeps no table: what is asked meanwhile meets the state, not the other load.
    background(guest, f"kmodctl init {STATES} wait=init")
    wait_until(lambda: "states" in guest.modules(), "states is listed")
    wait_until(lambda: guest.initstate("states") == "coming", "state COMING")
    yield
    assert guest.initstate("states") == "coming"
    assert guest.write(f"{PARAMETERS}/go", "1") == OK
    wait_until(lambda: guest.initstate("states") == "live", "state LIVE")
    wait_until(
        lambda: guest.unload("states") == OK, "states can go"
    )  # init's own reference goes a moment later


@contextlib.contextmanager
def going(guest: Guest) -> Iterator[None]:
    assert guest.system_call("init", STATES, "wait=exit") == OK
    background(guest, "kmodctl delete states n")
    wait_until(lambda: guest.initstate("states") == "going", "state GOING")
    yield
    assert guest.initstate("states") == "going"
    assert guest.write(f"{PARAMETERS}/go", "1") == OK
    wait_until(lambda: "states" not in guest.modules(), "states has gone")


@contextlib.contextmanager
def lock_held(guest: Guest) -> Iterator[None]:
    with with_states(guest):
        mark = guest.log_mark()
        holder = background(guest, f"echo 1 > {PARAMETERS}/hold_lock")
        wait_until(lambda: logged(guest, mark, "lock held"), "the lock is held")
        yield
        guest.run("kill", holder)
        wait_until(lambda: guest.run("kill", "-0", holder, check=False).returncode != 0, "the holder has gone")


@contextlib.contextmanager
def writer(guest: Guest) -> Iterator[None]:
    pid = background(guest, f"exec 9>> {STATES}; exec sleep 1000")
    wait_until(
        lambda: guest.run("test", "-e", f"/proc/{pid}/fd/9", check=False).returncode == 0, "the file is open"
    )
    yield
    guest.run("kill", pid)
    wait_until(
        lambda: guest.run("test", "-e", f"/proc/{pid}/fd/9", check=False).returncode != 0, "the file is closed"
    )


@contextlib.contextmanager
def locked_down(guest: Guest) -> Iterator[None]:
    guest.run("mount", "-t", "securityfs", "securityfs", "/sys/kernel/security", check=False)  # or it is there
    # Refused to who has done so before.
    guest.write("/sys/kernel/security/lockdown", "integrity")
    assert "[integrity]" in guest.read("/sys/kernel/security/lockdown")
    yield


def switched(path: str) -> Callable[[Guest], AbstractContextManager[None]]:
    """A setting that cannot be taken back."""

    @contextlib.contextmanager
    def situation(guest: Guest) -> Iterator[None]:
        assert guest.write(path, "1") == OK
        yield

    return situation


SITUATIONS: dict[str, Callable[[Guest], AbstractContextManager[None]]] = {
    "": lambda _: contextlib.nullcontext(),
    "live": with_states,
    "used": used,
    "coming": coming,
    "going": going,
    "no exit": lambda guest: with_states(guest, "no_exit=1"),
    "no exit, pinned": lambda guest: with_states(guest, "no_exit=1 pins=1"),
    "pinned": lambda guest: with_states(guest, "pins=2"),
    "lock held": lock_held,
    "writer": writer,
    "locked down": locked_down,
    "signatures": switched("/sys/module/module/parameters/sig_enforce"),
    "disabled": switched("/proc/sys/kernel/modules_disabled"),
}


# ---- machines --------------------------------------------------------------------------------------------


@dataclass
class Lab:
    """A machine on which many cases are tried, one after the other."""

    guest: Guest
    close: Callable[[], None]
    mark: int  # sequence number of the first record of the kernel log that no case has looked at
    forced: bool = False  # whether a module was unloaded by force


def objects(workbench: Workbench, kernel: Kernel, name: str) -> tuple[Path, ...]:
    (build,) = workbench.build([(resolve_module(name), kernel)])
    assert build.state != "failed", build.problems
    return build.objects


def upload_all(workbench: Workbench, kernel: Kernel, guest: Guest) -> None:
    for name in ("states", "depend_s", "depend_a"):
        for ko in objects(workbench, kernel, name):
            guest.put(ko)
    (states,) = [ko for ko in objects(workbench, kernel, "states") if ko.name == Path(STATES).name]
    image = states.read_bytes()
    guest.put_bytes(image[: len(image) // 2], Path(CUT).name)
    guest.put_bytes(lzma.compress(image, check=lzma.CHECK_CRC32), Path(PACKED).name)
    guest.put_bytes(b"no module\n" * 100, Path(TEXT).name)
    guest.put_bytes(b"", Path(EMPTY).name)


def rescue(workbench: Workbench, kernel: Kernel, guest: Guest) -> None:
    """Let a module die in init, and get it out again."""
    (vms,), (force_rmmod,) = (objects(workbench, kernel, name) for name in ("vms", "force_rmmod"))
    assert guest.load(guest.put(vms), {"fault": "1"}) == KILLED
    assert guest.unload("vms") == "EBUSY"
    assert guest.load(guest.put(force_rmmod), {"target": "vms"}, call="init") == OK
    assert guest.unload("vms") == OK
    assert guest.unload("force_rmmod") == OK
    assert guest.modules().keys().isdisjoint({"vms", "force_rmmod"})


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[tuple[str, str], Lab]]:
    """The machines in use, by kernel and history."""
    result: dict[tuple[str, str], Lab] = {}
    yield result
    for lab in result.values():
        lab.close()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    labs: dict[tuple[str, str], Lab],
    workbench: Workbench,
    kernel: Kernel,
    history: str,
) -> Iterator[Lab]:
    """A machine with that history; one on which a case has failed is not used again."""
    key = (kernel.spec, history)
    if key not in labs:
        with ExitStack() as stack:
            _machine, guest = stack.enter_context(workbench.fleet.machine(kernel, f"module-calls-{history}"))
            upload_all(workbench, kernel, guest)
            if history == "rescued":
                rescue(workbench, kernel, guest)
            labs[key] = Lab(guest, stack.pop_all().close, guest.log_mark())
    failed = request.session.testsfailed
    yield labs[key]
    if request.session.testsfailed > failed:
        labs.pop(key).close()


def words(call: str) -> list[str]:
    """Split a call; '' stands for an empty word."""
    return ["" if word == "''" else word for word in call.split()]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("history", ["fresh", "rescued"])
def test_answer(lab: Lab, kernel: Kernel, history: str, case: Case) -> None:
    guest = lab.guest
    before = guest.modules().keys()
    with SITUATIONS[case.given](guest):
        assert guest.system_call(*words(case.call)) == case.expected(kernel.release)
    if "states" in guest.modules() and "states" not in before:
        assert guest.unload("states") == OK
    lab.forced = lab.forced or case.forced
    assert bool(guest.taint() & taint_bits("R")) == lab.forced
    assert guest.modules().keys() == before
    records = guest.log(lab.mark)
    assert find_splats(records) == ()
    lab.mark += len(records)
