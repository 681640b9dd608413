# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.base.errors import HarnessError
from kmod_harness.base.settings import MIRROR_VARIABLE, Settings
from kmod_harness.kernels import sources
from kmod_harness.kernels.sources import Source, find_mirrors, parse_deb822, parse_list

RELEASES = ("bookworm", "trixie", "sid")


@pytest.fixture
def apt_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An /etc/apt without sources, on a host with the archive keyring."""
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(sources, "KEYRINGS", (keyring,))
    folder = tmp_path / "apt"
    (folder / "sources.list.d").mkdir(parents=True)
    return folder


def settings(mirror: str | None = None, security: str | None = None) -> Settings:
    return Settings(cache=Path("/nonexistent"), mirror=mirror, security_mirror=security)


def test_one_line_style() -> None:
    text = """
# deb http://old.invalid/debian buster main
deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/debian trixie main contrib  # why
deb-src http://a.invalid/debian trixie main
deb http://a.invalid/debian-security trixie-security main
"""
    assert parse_list(text) == [
        Source(("http://a.invalid/debian",), ("trixie",), ("main", "contrib"), "/k.gpg"),
        Source(("http://a.invalid/debian-security",), ("trixie-security",), ("main",)),
    ]


def test_deb822_style() -> None:
    text = """Types: deb deb-src
# a comment between the fields
URIs: http://a.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /k.gpg

Types: deb-src
URIs: http://b.invalid/debian
Suites: sid
Components: main

Enabled: no
Types: deb
URIs: http://c.invalid/debian
Suites: sid
Components: main
"""
    assert parse_deb822(text) == [
        Source(("http://a.invalid/debian",), ("bookworm", "bookworm-updates"), ("main",), "/k.gpg")
    ]


def test_deb822_style_as_other_systems_write_it() -> None:
    stanzas = (f"Types: deb\nURIs: http://{name}.invalid/debian\nSuites: sid\n" for name in "ab")
    first, second = parse_deb822("\n".join(stanzas).replace("\n", "\r\n"))
    assert (first.uris, second.uris) == (("http://a.invalid/debian",), ("http://b.invalid/debian",))


def test_a_key_as_text_keeps_its_empty_line(apt_folder: Path) -> None:
    (apt_folder / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://a.invalid/debian\nSuites: sid\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n",
        encoding="utf-8",
    )
    key = find_mirrors(settings(), RELEASES, apt_folder).key
    assert key.splitlines()[:3] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", "abc"]


def test_mirrors_of_the_host(apt_folder: Path) -> None:
    (apt_folder / "sources.list").write_text(
        "deb http://other.invalid/apt stable main\n".replace("stable", "nodistro")
        + "deb cdrom:[Debian]/ bookworm main\n"
        + "deb http://a.invalid/debian/ bookworm main\n"
        + "deb http://s.invalid/debian-security bookworm-security main\n",
        encoding="utf-8",
    )
    mirrors = find_mirrors(settings(), RELEASES, apt_folder)
    assert mirrors.address("main") == "http://a.invalid/debian"
    assert mirrors.address("security") == "http://s.invalid/debian-security"


def test_security_archive_beside_a_mirror_from_the_settings(apt_folder: Path) -> None:
    (apt_folder / "sources.list").write_text(
        "deb http://s.invalid/debian-security sid-security main\n", encoding="utf-8"
    )
    mirrors = find_mirrors(settings("http://m.invalid/debian/"), RELEASES, apt_folder)
    assert (mirrors.main, mirrors.security) == ("http://m.invalid/debian", "http://m.invalid/debian-security")


def test_both_mirrors_from_the_settings(apt_folder: Path) -> None:
    mirrors = find_mirrors(settings("http://m.invalid/x", "http://s.invalid/y"), RELEASES, apt_folder)
    assert (mirrors.main, mirrors.security) == ("http://m.invalid/x", "http://s.invalid/y")


@pytest.mark.parametrize("text", ["", "deb http://ubuntu.invalid/ubuntu noble main\n"])
def test_host_without_debian_sources_is_told_what_to_set(apt_folder: Path, text: str) -> None:
    (apt_folder / "sources.list").write_text(text, encoding="utf-8")
    with pytest.raises(HarnessError, match="no Debian apt sources") as caught:
        find_mirrors(settings(), RELEASES, apt_folder)
    assert MIRROR_VARIABLE in (caught.value.hint or "")


def test_without_keys_nothing_is_trusted(apt_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "KEYRINGS", ())
    with pytest.raises(HarnessError, match="signatures cannot be checked"):
        find_mirrors(settings("http://m.invalid/debian"), RELEASES, apt_folder)
