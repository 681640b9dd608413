# SPDX-License-Identifier: MIT
"""A private apt root for one Debian release: update, look, simulate, download. Nothing is ever installed.

The root has its own configuration, sources, lists and an empty status file, so neither the host's
configuration nor its packages have any influence; only its proxy settings are taken over.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.progress import Progress, Task
from kmod_harness.base.settings import MIRROR_VARIABLE, Settings
from kmod_harness.kernels.arch import Arch
from kmod_harness.kernels.releases import Release
from kmod_harness.kernels.sources import Mirrors

UPDATE_SECONDS = 300.0
LOOK_SECONDS = 60.0
DOWNLOAD_SECONDS = 1800.0


class NotOnMirrorError(HarnessError):
    """The mirror lists a package but does not have its file (404), or does not know it at all."""


class NetworkError(HarnessError):
    """The mirror cannot be reached or its answer cannot be used."""


@dataclass(frozen=True)
class Package:
    """A binary package of one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True)
class AptRoot:
    """The private root; make it with `open_root`."""

    release: Release
    arch: Arch
    folder: Path

    def _run(
        self,
        *argv: str,
        seconds: float,
        what: str = "",
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> process.Completed:
        deadline = Deadline(seconds, what or f"{argv[0]} for {self.release.name}")
        # What apt's methods put there stays when they are killed.
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self.folder) as scratch:
            env = self._environment() | {"TMPDIR": scratch}
            return process.run(argv, deadline=deadline, cwd=cwd, env=env, on_line=on_line, check=False)

    def _environment(self) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        return keep | {
            "APT_CONFIG": str(self.folder / "apt.conf"),
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
        }

    def update(self, progress: Progress) -> None:
        """Fetch the package lists. NetworkError when one cannot be had; what has expired is told."""
        with progress.task(f"package lists of {self.release.name}"):
            done = self._run(
                "apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", seconds=UPDATE_SECONDS
            )
        problems = parse_errors(done.output)
        if done.returncode != 0:
            raise NetworkError(
                f"the package lists of {self.release.name} could not be fetched: {reason_of(done.output)}",
                evidence=problems[-6:] or done.lines()[-6:],
                hint=hint_of(done.output),
            )
        for suite in self.release.suites:
            if suite.accept_expired and (date := self._expired(suite.name)):
                progress.note(
                    f"warning: the mirror's copy of {suite.name} expired on {date:%Y-%m-%d}; "
                    "used all the same (accept_expired in vm/kernels.yaml)"
                )

    def _expired(self, suite: str) -> datetime | None:
        """The Valid-Until of the suite's Release file when that is past."""
        for path in (self.folder / "lists").glob(f"*_dists_{suite}_InRelease"):
            match = re.search(
                r"^Valid-Until: (.+)$", path.read_text(errors="replace", encoding="utf-8")[:5000], re.MULTILINE
            )
            if match:
                date = parsedate_to_datetime(match.group(1).replace("UTC", "+0000"))
                return date if date < datetime.now(UTC) else None
        return None

    def names(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`; some of them may have no package (any more)."""
        return self._run("apt-cache", "pkgnames", prefix, seconds=LOOK_SECONDS).lines()

    def show(self, names: Sequence[str]) -> str:
        """The control stanzas of all versions of the named packages; names without package are left out."""
        return self._run("apt-cache", "show", *names, seconds=LOOK_SECONDS).output if names else ""

    def madison(self, names: Sequence[str]) -> str:
        """One line a version: "name | version | address suite/component arch Packages"."""
        return self._run("apt-cache", "madison", *names, seconds=LOOK_SECONDS).output if names else ""

    def closure(self, names: Sequence[str]) -> list[Package]:
        """The packages that installing `names` on an empty system would bring, themselves included."""
        done = self._run("apt-get", "install", "--simulate", "-q", *names, seconds=LOOK_SECONDS)
        packages = parse_simulation(done.output)
        if done.returncode != 0 or not packages:
            raise NotOnMirrorError(
                f"{self.release.name} cannot provide {', '.join(names)}",
                evidence=parse_errors(done.output) or done.lines()[-6:],
                hint="check the packages named in vm/kernels.yaml, then: invoke kernels --refresh",
            )
        return packages

    def download(self, packages: Sequence[Package], progress: Progress, label: str) -> list[Path]:
        """Fetch packages (signatures checked through the lists); those already fetched are only verified.

        Returns their files. NotOnMirrorError for a 404, NetworkError otherwise; what was fetched stays and
        is not fetched again. The caller holds a lock and removes the files when they are unpacked.
        """
        folder = self.folder / "downloads"
        folder.mkdir(exist_ok=True)
        with progress.task(f"download {label}") as task:
            # Not -q: that switches off the status lines' percentages.
            done = self._run(
                *("apt-get", "download", "-o", "APT::Status-Fd=1", *map(str, packages)),
                seconds=DOWNLOAD_SECONDS,
                what=f"download {label}",
                cwd=folder,
                on_line=lambda line: show_status(line, task),
            )
        if done.returncode != 0:
            raise _download_error(label, done)
        return [self._file(folder, package) for package in packages]

    @staticmethod
    def _file(folder: Path, package: Package) -> Path:
        version = package.version.replace(":", "%3a")
        for path in folder.glob("*.deb"):
            if path.name.startswith(f"{package.name}_{version}_"):
                return path
        raise HarnessError(f"apt-get download brought no file for {package}", hint="run the command again")


def _download_error(label: str, done: process.Completed) -> HarnessError:
    missing = re.search(r"\b404\b|Unable to locate|was not found|Can't find a source", done.output)
    return (NotOnMirrorError if missing else NetworkError)(
        f"{label}: download failed: {reason_of(done.output)}",
        evidence=parse_errors(done.output)[-6:],
        hint=hint_of(done.output),
    )


def parse_simulation(text: str) -> list[Package]:
    """The packages that `apt-get install --simulate` says it would install, in its order."""
    found = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", text, re.MULTILINE)
    return [Package(name.split(":")[0], version) for name, version in found]


def parse_errors(text: str) -> list[str]:
    """apt's error lines."""
    return [line for line in text.splitlines() if line.startswith("E: ")]


# What apt prints -> the cause in few words, and what helps. The first that matches counts.
_REASONS = (
    (r"Temporary failure resolving|Could not resolve|Name or service not", "no network (no name service)"),
    (r"Network is unreachable|Could not connect|Cannot initiate the connection|Connection timed out|"
     r"Connection failed|Unable to connect", "the mirror cannot be reached"),
    (r"No space left on device|not enough free space|don't have enough", "the disk is full"),
    (r"is expired \(invalid since|is not valid anymore", "the mirror's copy has expired"),
    (r"NO_PUBKEY|is not signed|couldn't be verified|invalid signatures?|BADSIG|EXPKEYSIG",
     "the signature cannot be verified"),
    (r"\b404\b|does not have a Release file", "the mirror does not have it (404)"),
    (r"Hash Sum mismatch|File has unexpected size", "the mirror is just being updated (hash mismatch)"),
)  # fmt: skip
_HINTS = {
    "the disk is full": "free some space, or put the cache elsewhere: KMOD_HARNESS_CACHE=<folder>",
    "the mirror's copy has expired": "choose another mirror, or set accept_expired in vm/kernels.yaml",
    "the signature cannot be verified": "install the current package debian-archive-keyring",
    "the mirror does not have it (404)": f"invoke kernels --refresh, or set {MIRROR_VARIABLE}=<address>",
    "the mirror is just being updated (hash mismatch)": "run the command again in some minutes",
}


def reason_of(output: str) -> str:
    """Why apt failed, in few words."""
    for pattern, reason in _REASONS:
        if re.search(pattern, output):
            return reason
    errors = parse_errors(output)
    return errors[-1].removeprefix("E: ") if errors else "apt-get ended without a reason"


def hint_of(output: str) -> str:
    """What helps against the reason."""
    return _HINTS.get(
        reason_of(output), f"check the network, or name another mirror: {MIRROR_VARIABLE}=<address>"
    )


def show_status(line: str, task: Task) -> None:
    """Pass one of apt's status lines ("dlstatus:2:12.8:Retrieving file 2 of 4") on as progress."""
    match = re.match(r"dlstatus:\d+:([\d.]+):(.*)", line)
    if match:
        task.update(match.group(2), completed=float(match.group(1)), total=100.0)


def open_root(release: Release, arch: Arch, mirrors: Mirrors, settings: Settings) -> AptRoot:
    """Write the root's configuration (idempotent; the caller holds the lock of the release)."""
    folder = settings.cache / "apt" / f"{release.name}-{arch.debian}"
    for name in ("lists/partial", "cache/archives/partial", "etc/empty"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("status", "etc/empty.conf"):
        (folder / name).touch()
    keyrings = [str(path) for path in mirrors.keyrings]
    if mirrors.key:
        store.write_atomically(folder / "etc" / "key.asc", mirrors.key + "\n")
        keyrings.append(str(folder / "etc" / "key.asc"))
    store.write_atomically(folder / "etc" / "sources.list", sources_text(release, mirrors, ",".join(keyrings)))
    store.write_atomically(folder / "apt.conf", configuration_text(folder, arch, _proxies()))
    return AptRoot(release, arch, folder)


def sources_text(release: Release, mirrors: Mirrors, signed_by: str) -> str:
    """The root's sources.list."""
    lines = []
    for suite in release.suites:
        options = f"signed-by={signed_by}" + (" check-valid-until=no" if suite.accept_expired else "")
        lines.append(f"deb [{options}] {mirrors.address(suite.archive)} {suite.name} main")
    return "\n".join(lines) + "\n"


def configuration_text(folder: Path, arch: Arch, proxies: Sequence[str]) -> str:
    """The root's apt.conf."""
    values = {
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc": folder / "etc",
        "Dir::Etc::sourcelist": folder / "etc" / "sources.list",
        # The host's configuration must not leak in; what is named has to exist, or apt warns.
        "Dir::Etc::sourceparts": folder / "etc" / "empty",
        "Dir::Etc::main": folder / "etc" / "empty.conf",
        "Dir::Etc::parts": folder / "etc" / "empty",
        "Dir::Etc::preferences": folder / "etc" / "empty.conf",
        "Dir::Etc::preferencesparts": folder / "etc" / "empty",
        "Dir::Etc::trusted": folder / "etc" / "empty.conf",
        "Dir::Etc::trustedparts": folder / "etc" / "empty",
        "Dir::Bin::dpkg": "/bin/false",  # so that nothing can be installed, whatever is asked for
        "APT::Architecture": arch.debian,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # apt's own user cannot read a cache below /root
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::Check-Valid-Until": "true",
        "Acquire::Languages": "none",
        "Acquire::PDiffs": "false",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
    }
    lines = [f'{name} "{value}";' for name, value in values.items()]
    return "\n".join([*lines, f'APT::Architectures {{"{arch.debian}";}};', *proxies]) + "\n"


def _proxies() -> list[str]:
    """The host's proxy settings, as lines of configuration."""
    done = process.run(("apt-config", "dump"), deadline=Deadline(20, "apt-config dump"), check=False)
    return parse_proxies(done.output)


def parse_proxies(dump: str) -> list[str]:
    """The proxy settings in the output of `apt-config dump`."""
    pattern = re.compile(r'Acquire::https?::Proxy(-Auto-Detect)?(::\S+)? "[^"]+";')
    return [line for line in dump.splitlines() if pattern.fullmatch(line)]
