# SPDX-License-Identifier: MIT
"""Whom a board is believed to be."""

from __future__ import annotations

import base64
from pathlib import Path

import paramiko
import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.machine.keys import MachineKeys
from kmod_harness.target.address import Address, parse_address
from kmod_harness.target.known_hosts import (
    check_host_key,
    fingerprint,
    known_kinds,
    parse_known_hosts,
    read_known_hosts,
)
from kmod_harness.target.ssh import HostKeyError

KIND = "ssh-ed25519"
BOARD = Address("root", "board.example", 2222)
FILE = Path("known hosts")


def blob() -> bytes:
    """Somebody's public key."""
    return MachineKeys().host_key_blob()


def text_of(key: bytes) -> str:
    """As known_hosts has it."""
    return f"{KIND} {base64.b64encode(key).decode()}"


@pytest.mark.parametrize(
    ("text", "expected", "known_as"),
    [
        ("root@board", Address("root", "board", 22), "board"),
        ("a.b-c@board.example:2222", Address("a.b-c", "board.example", 2222), "[board.example]:2222"),
        ("root@192.0.2.7:22", Address("root", "192.0.2.7", 22), "192.0.2.7"),
        ("root@[2001:db8::1]:2200", Address("root", "2001:db8::1", 2200), "[2001:db8::1]:2200"),
        ("root@[fe80::1%eth0]", Address("root", "fe80::1%eth0", 22), "fe80::1%eth0"),
    ],
)
def test_addresses(text: str, expected: Address, known_as: str) -> None:
    assert parse_address(text) == expected
    assert parse_address(text).known_as == known_as


def test_an_address_without_user_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "me")
    assert parse_address("board").user == "me"


NO_ADDRESSES = (
    *(
        "",
        "@board",
        "root@",
        "root@board:",
        "root@board:0",
        "root@board:65536",
        "root@board:ssh",
        "a b",
        "a@b@c",
    ),
    *("-x", "root@2001:db8::1", "root@[x y]", "root@-oProxyCommand=x", "ssh://board"),
)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="want user@board"):
        parse_address(text)


def accepts(line: str, key: bytes, address: Address = BOARD) -> bool:
    """Whether a key is taken after this known_hosts."""
    try:
        check_host_key(parse_known_hosts(line, "f"), address, KIND, key, FILE)
    except HostKeyError:
        return False
    return True


def test_names() -> None:
    key = blob()
    for names, there in {
        "[board.example]:2222": True,
        "other,[board.example]:2222": True,
        "[BOARD.example]:2222": True,
        "[*.example]:2222": True,
        "[board.exampl?]:*": True,
        "*": True,
        "board.example": False,  # that is port 22
        "[board.example]:22": False,
        "[board.example]:222": False,
        "*,![board.example]:2222": False,
        "b": False,
    }.items():
        assert accepts(f"{names} {text_of(key)} a comment", key) == there, names
        assert not accepts(f"{names} {text_of(blob())}", key), names


def test_hashed_names() -> None:
    key = blob()
    right = paramiko.HostKeys.hash_host("[board.example]:2222")
    wrong = paramiko.HostKeys.hash_host("board.example")
    assert accepts(f"{right} {text_of(key)}", key)
    assert not accepts(f"{wrong} {text_of(key)}", key)
    assert not accepts(f"|1|not base64|x {text_of(key)}", key)


def test_several_keys_of_a_host() -> None:
    old, new = blob(), blob()
    name = BOARD.known_as
    both = f"{name} {text_of(old)}\n# comment\n\n{name} {text_of(new)}\n"
    assert accepts(both, old)
    assert accepts(both, new)
    assert not accepts(both + f"@revoked * {text_of(new)}\n", new)
    assert accepts(both + f"@revoked * {text_of(new)}\n", old)
    # Lines that say nothing about a host's key.
    for line in (f"@cert-authority {name} {text_of(old)}", f"{name} {KIND}", f"{name} {KIND} ???", "x"):
        assert not accepts(line, old), line
    assert known_kinds(parse_known_hosts(f"{both}{name} ssh-rsa AAAA\n", "f"), name) == [KIND, "ssh-rsa"]


def test_an_unknown_key_is_shown_with_the_command_that_accepts_it() -> None:
    key = blob()
    with pytest.raises(HostKeyError) as refused:
        check_host_key([], BOARD, KIND, key, FILE)
    assert refused.value.message == (
        f"[board.example]:2222: the host key is not known: it shows {KIND} {fingerprint(key)}"
    )
    assert refused.value.hint
    assert refused.value.hint.endswith("ssh-keyscan -p 2222 -t ed25519 board.example >> 'known hosts'")


def test_a_changed_key_is_not_merely_unknown() -> None:
    key, known = blob(), blob()
    keys = parse_known_hosts(f"# one\n{BOARD.known_as} {text_of(known)}", "known_hosts")
    with pytest.raises(HostKeyError) as refused:
        check_host_key(keys, BOARD, KIND, key, FILE)
    assert "has changed" in refused.value.message
    assert f"known is {fingerprint(known)} (known_hosts:2)" in refused.value.message
    assert refused.value.hint == (
        "if the board was set up anew: ssh-keygen -f 'known hosts' -R '[board.example]:2222'"
    )


def test_fingerprint_is_that_of_ssh_keygen() -> None:
    # ssh-keygen -lf of RFC 8032's first test key.
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + public
    assert fingerprint(key) == "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8"


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_known_hosts(tmp_path / "missing")
    monkeypatch.setenv("HOME", str(tmp_path))
    read_known_hosts(None)  # ssh's own need not be there
    (tmp_path / ".ssh").mkdir()
    key = blob()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"{BOARD.known_as} {text_of(key)}\n", encoding="utf-8")
    check_host_key(read_known_hosts(None), BOARD, KIND, key, FILE)
