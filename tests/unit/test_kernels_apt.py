# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.kernels.apt import configuration_text, parse_proxies, reason_of, show_status, sources_text
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.releases import Release, Suite, load_releases
from kmod_harness.kernels.sources import Mirrors

MIRRORS = Mirrors("http://m.invalid/debian", "http://s.invalid/security", ())


def test_sources_check_signatures_and_forgive_only_the_named_suite() -> None:
    release = Release("sid", (Suite("sid", "main", accept_expired=True), Suite("sid-security", "security")))
    assert sources_text(release, MIRRORS, "/k.gpg").splitlines() == [
        "deb [signed-by=/k.gpg check-valid-until=no] http://m.invalid/debian sid main",
        "deb [signed-by=/k.gpg] http://s.invalid/security sid-security main",
    ]


def test_configuration_can_install_nothing_and_keeps_the_hosts_out() -> None:
    proxy = 'Acquire::http::Proxy "http://p.invalid:1";'
    lines = configuration_text(Path("/c"), ARCHES["x86_64"], [proxy]).splitlines()
    assert 'Dir::Bin::dpkg "/bin/false";' in lines
    assert 'Dir::Etc::parts "/c/etc/empty";' in lines
    assert 'Acquire::Check-Valid-Until "true";' in lines
    assert 'APT::Get::AllowUnauthenticated "false";' in lines
    assert lines[-1] == proxy


def test_only_proxies_are_taken_from_the_host() -> None:
    dump = """Acquire::http::Proxy "http://p.invalid:1";
Acquire::http::Proxy::m.invalid "DIRECT";
Acquire::https::Proxy "";
Acquire::Check-Valid-Until "false";
APT::Get::AllowUnauthenticated "1";
"""
    assert parse_proxies(dump) == dump.splitlines()[:2]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("E: Failed to fetch http://m/x  Temporary failure resolving 'm'", "no network (no name service)"),
        ("E: Failed to fetch http://m/x  Could not connect to m:80", "the mirror cannot be reached"),
        ("E: Failed to fetch http://m/x  404  Not Found [IP: ::1 80]", "the mirror does not have it (404)"),
        ("E: Release file for http://m/x is expired (invalid since 3d)", "the mirror's copy has expired"),
        ("E: The repository 'x' is not signed.", "the signature cannot be verified"),
        ("Err:1 x\n  Hash Sum mismatch\nE: Failed", "the mirror is just being updated (hash mismatch)"),
        ("E: You don't have enough free space in /c.", "the disk is full"),
        ("E: something new", "something new"),
        ("", "apt-get ended without a reason"),
    ],
)
def test_why_apt_failed(output: str, reason: str) -> None:
    assert reason_of(output) == reason


def test_status_lines_become_progress() -> None:
    seen: list[tuple[str | None, float | None]] = []

    class Recorder:
        def update(
            self, detail: str | None = None, *, completed: float | None = None, total: float | None = None
        ) -> None:
            seen.append((detail, completed))

        def conclude(self, outcome: str) -> None:
            raise AssertionError(outcome)

    show_status("dlstatus:2:12.8115:Retrieving file 2 of 4", Recorder())
    show_status("Get:1 http://m.invalid/debian sid InRelease", Recorder())
    assert seen == [("Retrieving file 2 of 4", 12.8115)]


def test_the_table_of_the_project_is_sound() -> None:
    releases = load_releases()
    assert {"bullseye", "bookworm", "trixie", "sid"} <= releases.releases.keys()
    expired = [s.name for release in releases.releases.values() for s in release.suites if s.accept_expired]
    assert expired == ["sid"]
