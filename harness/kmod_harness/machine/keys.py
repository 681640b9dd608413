# SPDX-License-Identifier: MIT
"""The keys of one machine: made for it, known before it boots, forgotten with it."""

from __future__ import annotations

import io

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

KEY_TYPE = "ssh-ed25519"


def _string(data: bytes) -> bytes:
    """The "string" of RFC 4251, section 5."""
    return len(data).to_bytes(4, "big") + data


class MachineKeys:
    """A fresh ed25519 host key and client key."""

    def __init__(self) -> None:
        self._host = Ed25519PrivateKey.generate()
        client = Ed25519PrivateKey.generate()
        self.client_pem = client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        self.client = paramiko.Ed25519Key.from_private_key(io.StringIO(self.client_pem))

    def host_key_blob(self) -> bytes:
        """The public host key as SSH sends it (RFC 8709); what the client compares."""
        public = self._host.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return _string(KEY_TYPE.encode()) + _string(public)

    def dropbear_host_key(self) -> bytes:
        """The private host key in dropbear's own format: type, then seed and public key as one string."""
        seed = self._host.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        public = self._host.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return _string(KEY_TYPE.encode()) + _string(seed + public)

    def authorized_key(self) -> str:
        """The line for authorized_keys."""
        return f"{KEY_TYPE} {self.client.get_base64()}\n"
