# SPDX-License-Identifier: MIT
"""An SSH connection to a board: its host key known beforehand, the user's own keys offered."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.pkey import UnknownKeyType

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.target.address import Address
from kmod_harness.target.known_hosts import (
    DEFAULT_FILES,
    KnownKey,
    check_host_key,
    known_kinds,
    read_known_hosts,
)
from kmod_harness.target.runner import ends_are_errors
from kmod_harness.target.ssh import SshRunner, Unwatched, timely, watched

DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")  # what an "ssh-rsa" key signs with today


class AuthenticationError(HarnessError):
    """The board does not let us in."""


def load_identity(path: Path) -> paramiko.PKey:
    """The private key in a file the user named. UsageError when it cannot be used."""
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise UsageError(f"--identity {path}: {error.strerror}") from error
    except (TypeError, paramiko.PasswordRequiredException) as error:
        raise UsageError(
            f"--identity {path}: it is protected by a passphrase", hint=f"ssh-add {path}, and no --identity"
        ) from error
    except (ValueError, paramiko.SSHException, UnknownKeyType, UnsupportedAlgorithm) as error:
        raise UsageError(f"--identity {path}: no private key: {error}") from error


def default_identities(folder: Path) -> Iterator[paramiko.PKey]:
    """The keys that ssh would try by itself: the agent's, then the user's files without passphrase."""
    with contextlib.closing(paramiko.Agent()) as agent:
        yield from agent.get_keys()
    for name in DEFAULT_IDENTITIES:
        with contextlib.suppress(UsageError):
            yield load_identity(folder / name)


@contextlib.contextmanager
def connect_board(
    address: Address, *, identity: Path | None, known_hosts: Path | None, deadline: Deadline
) -> Iterator[SshRunner]:
    """Connect to a board. UsageError, HostKeyError, AuthenticationError, HarnessError when that fails.

    What is lost later ends in HarnessError too.
    """
    known = read_known_hosts(known_hosts)
    keys = [load_identity(identity)] if identity else None
    with contextlib.ExitStack() as stack:

        def handshake() -> paramiko.Transport:
            transport = _open(address, known, stack, deadline)
            remote = transport.get_remote_server_key()
            file = known_hosts or Path(DEFAULT_FILES[0]).expanduser()
            check_host_key(known, address, remote.get_name(), remote.asbytes(), file)
            _authenticate(transport, address, keys, deadline)
            return transport

        try:
            transport = watched(handshake, timely(deadline, Unwatched()))
        except (paramiko.SSHException, OSError, EOFError, UnicodeError) as error:  # the last: of odd names
            reason = str(error) or type(error).__name__
            hint = f"ssh -v -p {address.port} {address.user}@{address.host}"
            raise HarnessError(f"no SSH connection to {address}: {reason}", hint=hint) from error
        with ends_are_errors():
            yield SshRunner(transport, Unwatched())


def _open(
    address: Address, known: Sequence[KnownKey], stack: contextlib.ExitStack, deadline: Deadline
) -> paramiko.Transport:
    connection = socket.create_connection((address.host, address.port), deadline.remaining())
    stack.callback(connection.close)
    transport = paramiko.Transport(connection)
    stack.callback(transport.close)
    transport.banner_timeout = deadline.remaining()
    _prefer(transport, known_kinds(known, address.known_as))
    transport.start_client(timeout=deadline.remaining())
    return transport


def _prefer(transport: paramiko.Transport, kinds: Sequence[str]) -> None:
    """Ask for the kinds of host key that are known, as ssh does: a server has several."""
    wanted = [name for kind in kinds for name in (RSA_SIGNATURES if kind == "ssh-rsa" else (kind,))]
    options = transport.get_security_options()
    offered = tuple(options.key_types)
    first = tuple(name for name in wanted if name in offered)
    options.key_types = (*first, *(name for name in offered if name not in first))


def _authenticate(
    transport: paramiko.Transport, address: Address, keys: Sequence[paramiko.PKey] | None, deadline: Deadline
) -> None:
    candidates = iter(keys) if keys else default_identities(Path("~/.ssh").expanduser())
    tried = 0
    for key in candidates:
        deadline.check()
        transport.auth_timeout = deadline.remaining()
        tried += 1
        with contextlib.suppress(paramiko.AuthenticationException):
            transport.auth_publickey(address.user, key)
        if transport.is_authenticated():
            return
        if not transport.is_active():
            break
    raise AuthenticationError(
        f"{address} takes none of {tried} keys" if tried else f"there is no key to show to {address}",
        hint="name one with --identity FILE (ssh-copy-id takes it to the board)",
    )
