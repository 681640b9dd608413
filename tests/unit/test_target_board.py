# SPDX-License-Identifier: MIT
"""A rescue over SSH against a real server in a thread, which plays the board."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import socket
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import paramiko
import pytest

from kmod_harness.base.errors import Exit, Failure, HarnessError, UsageError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.features.rescue import command as rescue
from kmod_harness.features.rescue import package
from kmod_harness.features.rescue.command import Request
from kmod_harness.kernels.arch import host_arch
from kmod_harness.machine.keys import MachineKeys
from kmod_harness.run import targets
from kmod_harness.run.targets import Choice, open_target
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.address import Address, parse_address
from kmod_harness.target.connection import AuthenticationError, connect_board
from kmod_harness.target.runner import ConnectionLost
from kmod_harness.target.ssh import HostKeyError
from kmod_harness.target.target import Facts
from tests.patience import patient
from tests.unit.ssh_server import serve
from tests.unit.test_target_known_hosts import text_of
from tests.unit.test_target_ssh import _host_key

FOLDER = "/tmp/tmp.play"
MARK = "KMOD_HARNESS_RUN="
RELEASE = "6.99.0-board"


@dataclass
class Play:
    """A board: what each command answers, and what it was asked."""

    uid: int = 0
    builds: bool = False
    arch: str = field(default_factory=lambda: host_arch().name)
    sudo: int = 0  # exit code of sudo -n true
    answer: tuple[str, int] = ("rescued: vms is removed\n", 0)  # of the program
    hangs_up: bool = False
    asked: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def handle(self, command: str, channel: paramiko.Channel) -> None:
        words = [word for word in shlex.split(command) if not word.startswith(MARK)]
        command = shlex.join([word for word in words if word != "env"])
        words = shlex.split(command)
        self.asked.append(" ".join(words[:2]) if words[0] == "sh" else command)
        output, code = "", 0
        if words[:2] == ["sh", "-c"] and "uname" in words[2]:
            output = f"{RELEASE}\n{self.arch}\n{self.uid}\n{'yes' if self.builds else 'no'}\n"
        elif words[:2] == ["sh", "-c"] and "cat >" in words[2]:
            self.files[words[4]] = b"".join(iter(lambda: channel.recv(65536), b""))
        elif words == ["mktemp", "-d"]:
            output = f"{FOLDER}\n"
        elif words == ["sudo", "-n", "true"]:
            code = self.sudo
        elif f"{FOLDER}/force-rmmod" in words and words[0] != "chmod":
            output, code = self.answer
            if self.hangs_up:
                assert channel.transport
                channel.transport.close()
        channel.sendall(output.encode())
        channel.send_exit_status(code)


@dataclass
class Stage:
    """A board that is being played, and a request that reaches it."""

    play: Play
    request: Request
    workbench: Workbench

    def rescue(self) -> tuple[Exit, str]:
        """Exit code and what was printed."""
        out = io.StringIO()
        return rescue.rescue(self.request, self.workbench, out), out.getvalue()


@contextlib.contextmanager
def serving(play: Play, folder: Path) -> Iterator[Stage]:
    keys = MachineKeys()
    with serve(_host_key(keys), keys.client, play.handle) as port:
        address = Address("root", "127.0.0.1", port)
        (folder / "id").write_text(keys.client_pem, encoding="utf-8")
        (folder / "known").write_text(f"{address.known_as} {text_of(keys.host_key_blob())}\n", encoding="utf-8")
        choice = Choice(host=f"root@127.0.0.1:{port}", identity=folder / "id", known_hosts=folder / "known")
        request = Request(choice, "vms")
        workbench = Workbench(Settings(cache=folder / "cache"), Silent())
        yield Stage(play, request, workbench)
        workbench.close()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Play], Stage]]:
    """Plays a board; what is built for it here are a few bytes."""
    monkeypatch.setattr(package, "choose_kernel", lambda *_: None)
    monkeypatch.setattr(package, "build_package", lambda *_: b"program")
    with contextlib.ExitStack() as stack:
        yield lambda play: stack.enter_context(serving(play, tmp_path))


def test_as_root(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play())
    at.request = replace(at.request, flags=("--explain", "--force"))
    assert at.rescue() == (Exit.OK, "rescued: vms is removed\n")
    assert at.play.files == {f"{FOLDER}/force-rmmod": b"program"}
    assert at.play.asked[-2:] == [f"{FOLDER}/force-rmmod --explain --force -- vms", f"rm -rf {FOLDER}"]


def test_through_sudo(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play(uid=1000))
    assert at.rescue()[0] == Exit.OK
    assert f"sudo -n -- {FOLDER}/force-rmmod -- vms" in at.play.asked


def test_sudo_with_a_password(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play(uid=1000, sudo=1))
    with pytest.raises(UsageError, match="not root's, and sudo wants a password"):
        at.rescue()
    assert at.play.files == {}


@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_programs_exit_code_is_ours(stage: Callable[[Play], Stage], code: int) -> None:
    at = stage(Play(answer=("refused: x\n", code)))
    assert at.rescue() == (Exit(code), "refused: x\n")


def test_a_program_that_did_not_run_has_told_nothing(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play(answer=("Permission denied\n", 126)))
    with pytest.raises(HarnessError, match="exit code 126"):
        at.rescue()
    assert at.play.asked[-1] == f"rm -rf {FOLDER}"


def test_a_lost_board_is_no_refusal(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play(hangs_up=True))
    with pytest.raises(HarnessError, match="connection lost") as lost:
        at.rescue()
    assert lost.value.exit_code == Exit.NO_VERDICT


def test_a_board_that_was_lost_has_told_nothing(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play())
    with pytest.raises(HarnessError, match="gone") as lost, open_target(at.request.board, at.workbench):
        raise ConnectionLost("gone")
    assert lost.value.exit_code == Exit.NO_VERDICT


def test_built_on_the_board_if_it_can(stage: Callable[[Play], Stage]) -> None:
    at = stage(Play(builds=True))
    assert at.rescue()[0] == Exit.OK
    with tarfile.open(fileobj=io.BytesIO(at.play.files[f"{FOLDER}/sources.tar"])) as archive:
        names = archive.getnames()
    assert {"Makefile", "include/compat.h", "force_rmmod/Kbuild", "tools/force-rmmod/image.c"} <= set(names)
    assert not any(name.endswith((".o", ".ko", ".cmd")) for name in names)
    # What the user names comes first.
    named = stage(Play(builds=True))
    named.request = replace(named.request, kernel="6.12")
    assert named.rescue()[0] == Exit.OK
    assert named.play.files == {f"{FOLDER}/force-rmmod": b"program"}


# ---- the connection --------------------------------------------------------------------------------------


def connect(stage: Stage, **other: Path | None) -> None:
    with open_target(replace(stage.request.board, **other), stage.workbench):  # type: ignore[arg-type]
        pass


def test_an_unknown_board_is_refused(stage: Callable[[Play], Stage], tmp_path: Path) -> None:
    at = stage(Play())
    (tmp_path / "known").write_text("", encoding="utf-8")
    with pytest.raises(HostKeyError, match="is not known: it shows ssh-ed25519 SHA256:"):
        at.rescue()
    assert at.play.asked == []


def test_a_changed_board_is_refused(stage: Callable[[Play], Stage], tmp_path: Path) -> None:
    at = stage(Play())
    name = parse_address(at.request.board.host).known_as
    (tmp_path / "known").write_text(f"{name} {text_of(MachineKeys().host_key_blob())}\n", encoding="utf-8")
    with pytest.raises(HostKeyError, match="has changed"):
        at.rescue()
    assert at.play.asked == []


def test_a_foreign_key_is_not_let_in(stage: Callable[[Play], Stage], tmp_path: Path) -> None:
    at = stage(Play())
    (tmp_path / "id").write_text(MachineKeys().client_pem, encoding="utf-8")
    with pytest.raises(AuthenticationError, match="takes none of 1 keys"):
        at.rescue()


def test_the_users_own_keys_are_offered(
    stage: Callable[[Play], Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    at = stage(Play())
    (tmp_path / ".ssh").mkdir()
    with pytest.raises(AuthenticationError, match="there is no key to show"):
        connect(at, identity=None)
    again = stage(Play())
    (tmp_path / "id").rename(tmp_path / ".ssh" / "id_ed25519")
    (tmp_path / ".ssh" / "id_rsa").write_text("no key\n", encoding="utf-8")
    connect(again, identity=None)


def test_an_agent_that_does_not_answer(
    stage: Callable[[Play], Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = stage(Play())
    monkeypatch.setattr(targets, "CONNECT_SECONDS", 1.0)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        with pytest.raises(HarnessError, match="no answer within"):
            connect(at, identity=None)


def test_identities_that_cannot_be_used(stage: Callable[[Play], Stage], tmp_path: Path) -> None:
    at = stage(Play())
    with pytest.raises(UsageError, match="No such file"):
        connect(at, identity=tmp_path / "missing")
    (tmp_path / "text").write_text("hello\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no private key"):
        connect(at, identity=tmp_path / "text")
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "locked"), password="secret")
    with pytest.raises(UsageError, match="protected by a passphrase"):
        connect(at, identity=tmp_path / "locked")


@pytest.mark.parametrize(
    ("address", "reason"),
    [(Address("root", "127.0.0.1", 1), ".*refused"), (Address("root", "a..b"), ".*empty")],
)
def test_nobody_there(address: Address, reason: str) -> None:
    with (
        pytest.raises(HarnessError, match=f"no SSH connection to {re.escape(str(address))}: {reason}"),
        connect_board(address, identity=None, known_hosts=None, deadline=patient("x")),
    ):
        pass


# ---- which kernel ----------------------------------------------------------------------------------------


def facts(**other: str) -> Facts:
    values = {"release": RELEASE, "arch": host_arch().name, **other}
    return Facts(release=values["release"], arch=values["arch"], root=True, builds=False)


def choose(settings: Path, spec: str = "", tree: str = "", **other: str) -> str:
    """The kernel chosen, or the complaint."""
    workbench = Workbench(Settings(cache=settings), Silent())
    try:
        return package.choose_kernel(facts(**other), spec, tree, workbench).release
    except Failure as failure:
        assert failure.exit_code == Exit.USAGE
        return failure.message


def headers(folder: Path, release: str, make: str = "x86") -> Path:
    """A configured tree, never compiled."""
    for name, text in {
        "Makefile": "",
        f"arch/{make}/include/generated/x.h": "",
        "include/generated/utsrelease.h": f'#define UTS_RELEASE "{release}"\n',
        ".config": 'CONFIG_CC_VERSION_TEXT="gcc-14 (Debian 14.2.0-19) 14.2.0"\n',
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_tree_without_image_is_enough(tmp_path: Path) -> None:
    tree = headers(tmp_path / "tree", RELEASE)
    assert choose(tmp_path, tree=str(tree), arch="x86_64") == RELEASE
    kernel = package.headers_kernel(tree)
    assert (kernel.arch, kernel.compiler, kernel.build_tree) == ("x86_64", "gcc-14", tree)


def test_kernels_that_do_not_fit(tmp_path: Path) -> None:
    tree = headers(tmp_path / "tree", RELEASE, "arm64")
    assert choose(tmp_path, tree=str(tree), arch="x86_64") == f"{tree} is for aarch64, the board is x86_64"
    assert "nothing can be built for it here" in choose(tmp_path, arch="riscv64")


def test_kernels_that_cannot_be_are_refused_before_the_board_is_asked(tmp_path: Path) -> None:
    board = Choice(host="root@192.0.2.1")
    tree = headers(tmp_path / "tree", RELEASE)
    with pytest.raises(UsageError, match="--kernel and --kdir: want one of them"):
        Request(board, "vms", kernel="6.12", kdir=str(tree))
    with pytest.raises(UsageError, match="no: no kernel build tree"):
        Request(board, "vms", kdir=str(tmp_path / "no"))


def test_a_kernel_that_is_not_debians(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_self: Workbench, spec: str) -> None:
        raise UsageError(f"unknown kernel {spec!r}")

    monkeypatch.setattr(Workbench, "kernel", unknown)
    assert choose(tmp_path) == f"the board's kernel {RELEASE} is none of Debian's here"
