# SPDX-License-Identifier: MIT
"""Where a board is, as the user types it: user@board:port."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass

from kmod_harness.base.errors import UsageError

SSH_PORT = 22
_ADDRESS = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^@:\s\[\]]+)(?::(?P<port>\d+))?")


@dataclass(frozen=True)
class Address:
    """An account on a machine."""

    user: str
    host: str  # name or number; an IPv6 number without brackets
    port: int = SSH_PORT

    @property
    def known_as(self) -> str:
        """The name under which known_hosts has its key (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        return f"{self.user}@{self.known_as}"


def parse_address(text: str) -> Address:
    """The address that `text` means; without a user the one who asks. UsageError for anything else."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or SSH_PORT) if match else 0
    if not match or not 0 < port < 65536 or match["host"].startswith("-"):
        raise UsageError(f"--host {text!r}: want user@board or user@board:port", hint="e.g. root@192.0.2.7:22")
    return Address(match["user"] or getpass.getuser(), match["host"].strip("[]"), port)
