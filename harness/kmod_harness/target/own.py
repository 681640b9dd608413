# SPDX-License-Identifier: MIT
"""The Runner for a machine of ours: commands over SSH, as everywhere; files through its agent.

A 1 MB module takes 14 ms that way, 106 ms through SSH and 120 ms through SFTP (emulated guest, two cores).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import GuestFailure, HarnessError
from kmod_harness.machine.agent import Agent
from kmod_harness.target.runner import ConnectionLost, GuestHang, Result
from kmod_harness.target.ssh import SshRunner

MODE = 0o644
ANSWER_SECONDS = 2.0


class OwnRunner:
    """See kmod_harness.target.runner.Runner."""

    def __init__(self, ssh: SshRunner, agent: Agent) -> None:
        self.ssh = ssh
        self._agent = agent

    def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
        """See Runner.run. Silence of the network alone is told from a command that hangs, or a machine."""
        try:
            return self.ssh.run(argv, deadline, stdin=stdin)
        except GuestHang as hang:
            if not self._ssh_answers() and self._agent_answers():
                message = f"{hang.message}; SSH does not answer any more, the machine itself does"
                raise ConnectionLost(message) from hang
            raise

    def _ssh_answers(self) -> bool:
        with contextlib.suppress(GuestFailure):
            return self.ssh.run(["true"], Deadline(ANSWER_SECONDS, "SSH answers")).returncode == 0
        return False

    def _agent_answers(self) -> bool:
        with contextlib.suppress(HarnessError):
            return bool(self._agent.boot_id(Deadline(ANSWER_SECONDS, "agent answers")))
        return False

    def put(self, path: str, data: bytes, deadline: Deadline) -> None:
        """See Runner.put."""
        self._agent.write(path, data, MODE, deadline)

    def alive(self) -> bool:
        """See Runner.alive."""
        return self.ssh.alive()
