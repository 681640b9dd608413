# SPDX-License-Identifier: MIT
"""Host keys that the user trusts, as ssh keeps them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from kmod_harness.base.errors import UsageError
from kmod_harness.target.address import Address
from kmod_harness.target.ssh import HostKeyError

REVOKED = "@revoked"
DEFAULT_FILES = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class KnownKey:
    """A line of known_hosts."""

    names: tuple[str, ...]  # patterns, or one hashed name "|1|salt|hash"
    kind: str  # "ssh-ed25519"
    blob: bytes  # the key as SSH sends it
    revoked: bool
    where: str  # "file:line", for messages

    def is_for(self, name: str) -> bool:
        """Whether the line speaks of this host; a pattern with "!" in front excludes it."""
        if any(name_matches(one[1:], name) for one in self.names if one.startswith("!")):
            return False
        return any(name_matches(one, name) for one in self.names)


def name_matches(pattern: str, name: str) -> bool:
    """Whether a pattern ("*" and "?"), or a hashed name, is this host's."""
    if pattern.startswith("|1|"):
        return hashed_name(name, pattern) == pattern
    # Brackets are part of "[host]:port" here, and no set of characters.
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def hashed_name(name: str, salted: str) -> str:
    """The name, hashed with the salt of another hashed name; "" when that has none."""
    try:
        return str(paramiko.HostKeys.hash_host(name, salted))
    except (ValueError, AssertionError):
        return ""


def parse_known_hosts(text: str, file: str) -> list[KnownKey]:
    """The keys that a known_hosts file names. What is no key of a host, is left out."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if marker not in ("", REVOKED) or len(words) < 3:
            continue  # certificate authorities: paramiko cannot check their signatures
        try:
            blob = base64.b64decode(words[2], validate=True)
        except ValueError:  # also of letters that are not ASCII
            continue
        names = tuple(words[0].split(","))
        keys.append(KnownKey(names, words[1], blob, marker == REVOKED, f"{file}:{number}"))
    return keys


def read_known_hosts(named: Path | None) -> list[KnownKey]:
    """The keys in the file that the user named, else in ssh's own files. UsageError if it cannot be read."""
    files = [named] if named else [Path(name).expanduser() for name in DEFAULT_FILES]
    keys: list[KnownKey] = []
    for file in files:
        if not named and not file.is_file():
            continue
        try:
            keys += parse_known_hosts(file.read_text(errors="replace", encoding="utf-8"), str(file))
        except OSError as error:
            raise UsageError(f"known hosts: {file}: {error.strerror}") from error
    return keys


def known_kinds(keys: Iterable[KnownKey], name: str) -> list[str]:
    """The kinds of key that are known of a host: these it should be asked for."""
    return list(dict.fromkeys(key.kind for key in keys if key.is_for(name) and not key.revoked))


def fingerprint(blob: bytes) -> str:
    """As ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def check_host_key(keys: Sequence[KnownKey], address: Address, kind: str, blob: bytes, file: Path) -> None:
    """Return if this is the host's key; HostKeyError if it is unknown, another one, or revoked.

    file: where the user would add it.
    """
    shown = f"{kind} {fingerprint(blob)}"
    mine = [key for key in keys if key.is_for(address.known_as)]
    for key in mine:
        if key.revoked and key.blob == blob:
            raise HostKeyError(f"{address.known_as}: the host key {shown} is revoked ({key.where})")
    trusted = [key for key in mine if not key.revoked]
    if any(key.blob == blob for key in trusted):
        return
    same = next((key for key in trusted if key.kind == kind), None)
    if same:
        raise HostKeyError(
            f"{address.known_as}: the host key has changed: it shows {shown}, "
            f"known is {fingerprint(same.blob)} ({same.where}). Somebody may be in between",
            hint="if the board was set up anew: " + remove_command(address, file),
        )
    raise HostKeyError(
        f"{address.known_as}: the host key is not known: it shows {shown}",
        hint="if that is the board's fingerprint (there: ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub): "
        + accept_command(address, kind, file),
    )


def accept_command(address: Address, kind: str, file: Path) -> str:
    """What adds a host's key to the known ones."""
    word = "ecdsa" if kind.startswith("ecdsa") else kind.removeprefix("ssh-")
    argv = ["ssh-keyscan", "-p", str(address.port), "-t", word, address.host]
    return f"{shlex.join(argv)} >> {shlex.quote(str(file))}"


def remove_command(address: Address, file: Path) -> str:
    """What forgets a host's keys."""
    return shlex.join(["ssh-keygen", "-f", str(file), "-R", address.known_as])
