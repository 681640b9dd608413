# SPDX-License-Identifier: MIT
"""The Runner for a machine of ours: commands over SSH, as everywhere; files through its agent.

A 1 MB module takes 14 ms that way, 106 ms through SSH and 120 ms through SFTP (emulated guest, two cores).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.deadline import Deadline
from harness.guest.runner import Result
from harness.guest.ssh import SshRunner
from harness.machine.agent import Agent

MODE = 0o644


class OwnRunner:
    """See harness.guest.runner.Runner."""

    def __init__(self, ssh: SshRunner, agent: Agent) -> None:
        self.ssh = ssh
        self._agent = agent

    def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
        """See Runner.run."""
        return self.ssh.run(argv, deadline, stdin=stdin)

    def put(self, path: str, data: bytes, deadline: Deadline) -> None:
        """See Runner.put."""
        self._agent.write(path, data, MODE, deadline)

    def alive(self) -> bool:
        """See Runner.alive."""
        return self.ssh.alive()
