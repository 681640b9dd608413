# SPDX-License-Identifier: MIT
"""Kernels from a fake mirror: what is downloaded, kept, and done when the mirror fails."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import catalogue, resolve
from kmod_harness.kernels.apt import NetworkError, NotOnMirrorError
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.releases import Release, Releases, Suite
from tests.unit.fake_apt import KERNEL, VERSION, FakeMirror, add_kernel, build_deb, kernel_files

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb (package dpkg)")


FLAVOURS = {"generic": "{arch}", "cloud": "cloud-{arch}"}
GENERIC = "6.12.1-amd64"


class Notes(Silent):
    """Keeps what the user would be told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMirror:
    fake = FakeMirror(tmp_path / "mirror")
    monkeypatch.setenv("PATH", f"{fake.folder / 'bin'}:{os.environ['PATH']}")
    table = Releases(
        {"trixie": Release("trixie", (Suite("trixie", "main"),))}, FLAVOURS, {}, (), "trixie", (), "", ()
    )
    for module in ("catalogue", "debian", "packages", "flavours"):
        monkeypatch.setattr(f"kmod_harness.kernels.{module}.load_releases", lambda: table)
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr("kmod_harness.kernels.sources.KEYRINGS", (keyring,))
    monkeypatch.setattr(resolve, "host_arch", lambda: ARCHES["x86_64"])
    return fake


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", mirror="http://m.invalid/debian", security_mirror=None)


def age(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was fetched so far be too old."""
    monkeypatch.setattr(catalogue, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(catalogue, "RETRY_SECONDS", -1.0)


def test_series_is_fetched_once_then_found_without_apt(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    kernel = resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert (kernel.release, kernel.compiler, kernel.origin) == (KERNEL, "gcc-14", f"trixie {VERSION}")
    assert kernel.image.read_text(encoding="utf-8") == "image"
    assert (kernel.modules / "kernel" / "a.ko").read_text(encoding="utf-8") == "module"
    assert (kernel.modules / "build").resolve() == kernel.build_tree.resolve()
    assert "/usr/src" not in (kernel.build_tree / "Makefile").read_text(encoding="utf-8")
    before = mirror.calls()
    assert resolve.resolve_kernel("6.12-cloud", settings, Silent()) == kernel
    assert resolve.resolve_kernel(KERNEL, settings, Silent()).image == kernel.image
    assert resolve.resolve_kernel("latest-cloud", settings, Silent()).image == kernel.image
    assert mirror.calls() == before
    assert not list(settings.cache.rglob("*.deb"))


@pytest.mark.parametrize("spec", ["6.12", "6.12-amd64", "6.12-generic", "latest", "latest-amd64", GENERIC])
def test_series_alone_is_the_ordinary_flavour(mirror: FakeMirror, settings: Settings, spec: str) -> None:
    add_kernel(mirror)
    add_kernel(mirror, GENERIC)
    add_kernel(mirror, "6.13.1-cloud-amd64", "6.13.1-1")
    assert resolve.resolve_kernel(spec, settings, Silent()).release == GENERIC


@pytest.mark.parametrize("spec", ["6.12-cloud", "6.12-cloud-amd64", "latest-cloud", KERNEL])
def test_flavour_by_its_name_or_ending(mirror: FakeMirror, settings: Settings, spec: str) -> None:
    add_kernel(mirror)
    add_kernel(mirror, GENERIC)
    assert resolve.resolve_kernel(spec, settings, Silent()).release == KERNEL


def test_the_ordinary_flavour_is_never_replaced_by_another(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    with pytest.raises(UsageError, match=r"unknown kernel '6\.12'; there is: 6\.12, each with -cloud"):
        resolve.resolve_kernel("6.12", settings, Silent())


def test_flavours_are_listed_apart(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    add_kernel(mirror, GENERIC)
    add_kernel(mirror, "6.13.1-amd64", "6.13.1-1")
    resolve.resolve_kernel("6.12-cloud", settings, Silent())
    rows = resolve.known_kernels(settings, Silent())
    assert [(row.name, row.release, row.cached) for row in rows] == [
        ("6.12", GENERIC, False),
        ("6.12-cloud", KERNEL, True),
        ("6.13", "6.13.1-amd64", False),
    ]


def test_specs_are_checked_without_fetching_a_kernel(
    mirror: FakeMirror, settings: Settings, tmp_path: Path
) -> None:
    add_kernel(mirror)
    (tmp_path / "one.deb").touch()
    resolve.check_kernels(["6.12-cloud", KERNEL, "latest-cloud", str(tmp_path)], settings, Silent())
    for wrong in ("6.99", "nonsense", "./nowhere", str(settings.cache)):
        with pytest.raises(UsageError):
            resolve.check_kernels(["6.12-cloud", wrong], settings, Silent())
    assert "download" not in {call.split()[0] for call in mirror.calls()}


def test_only_harmless_commands_are_given_to_apt(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert {call.split()[0] for call in mirror.calls()} <= {"update", "download", "pkgnames", "show", "madison"}


def test_threads_that_ask_at_once_download_once(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    kernels = []
    threads = [
        threading.Thread(
            target=lambda: kernels.append(resolve.resolve_kernel("6.12-cloud", settings, Silent()))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kernels) == 3
    assert sum(call.startswith("download") for call in mirror.calls()) == 1


def test_unsigned_image_when_the_signed_one_is_missing(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    name = f"linux-image-{KERNEL}"
    shutil.rmtree(mirror.folder / "pool" / name)
    mirror.add(f"{name}-unsigned", VERSION, kernel_files(KERNEL)[name])
    assert resolve.resolve_kernel("6.12-cloud", settings, Silent()).release == KERNEL


def test_next_older_version_when_the_newest_is_missing(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    for name in kernel_files("6.12.9-cloud-amd64"):
        mirror.list(name, "6.12.9-1", "gcc-14")
    notes = Notes()
    assert resolve.resolve_kernel("6.12-cloud", settings, notes).release == KERNEL
    assert any("404" in note and f"trying {KERNEL}" in note for note in notes.notes)


def test_all_missing_is_an_error_that_says_so(mirror: FakeMirror, settings: Settings) -> None:
    for name in kernel_files(KERNEL):
        mirror.list(name, VERSION, "gcc-14")
    with pytest.raises(NotOnMirrorError, match="404"):
        resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert not list(settings.cache.glob("kernels/*"))


def test_cached_kernel_without_network_with_a_warning(
    mirror: FakeMirror, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_kernel(mirror)
    resolve.resolve_kernel("6.12-cloud", settings, Silent())
    age(settings, monkeypatch)
    mirror.offline()
    notes = Notes()
    assert resolve.resolve_kernel("6.12-cloud", settings, notes).release == KERNEL
    assert any("not refreshed (no network" in note for note in notes.notes)


def test_no_network_and_nothing_cached(mirror: FakeMirror, settings: Settings) -> None:
    mirror.offline()
    with pytest.raises(NetworkError, match="no network") as caught:
        resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert caught.value.hint
    mirror.offline(away=False)
    add_kernel(mirror)
    assert (
        resolve.resolve_kernel("6.12-cloud", settings, Silent()).release == KERNEL
    )  # no waiting after the failure


def test_what_has_left_the_mirror_still_works(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    resolve.resolve_kernel("6.12-cloud", settings, Silent())
    for path in (mirror.folder / "lists").iterdir():
        path.unlink()
    assert resolve.resolve_kernel("6.12-cloud", settings, Silent(), refresh=True).release == KERNEL
    (row,) = resolve.known_kernels(settings, Silent())
    assert (row.name, row.cached, row.listed) == ("6.12-cloud", True, False)


def test_newer_version_is_taken_when_it_appears(mirror: FakeMirror, settings: Settings) -> None:
    add_kernel(mirror)
    resolve.resolve_kernel("6.12-cloud", settings, Silent())
    add_kernel(mirror, "6.12.10-cloud-amd64", "6.12.10-1")
    assert (
        resolve.resolve_kernel("6.12-cloud", settings, Silent(), refresh=True).release == "6.12.10-cloud-amd64"
    )
    (row,) = resolve.known_kernels(settings, Silent())
    assert row.cached_versions == ("6.12.10-1", VERSION)


@pytest.mark.parametrize("spec", ["6.13", "nonsense"])
def test_wrong_spec_names_what_can_be_had(mirror: FakeMirror, settings: Settings, spec: str) -> None:
    add_kernel(mirror)
    with pytest.raises(UsageError, match=r"there is: 6\.12"):
        resolve.resolve_kernel(spec, settings, Silent())


def test_incomplete_packages_are_not_published(mirror: FakeMirror, settings: Settings) -> None:
    for name, files in kernel_files(KERNEL).items():
        kept = {path: text for path, text in files.items() if "vmlinuz" not in path}
        mirror.add(name, VERSION, kept, "gcc-14")
    with pytest.raises(HarnessError, match="no image"):
        resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert not list(settings.cache.glob("kernels/*"))
    assert not list(settings.cache.glob("kernels/.*"))


def test_folder_of_packages(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "debs"
    for name, files in kernel_files(KERNEL).items():
        build_deb(folder / name, name, VERSION, files).rename(folder / f"{name}.deb")
    kernel = resolve.resolve_kernel(str(folder), settings, Silent())
    assert (kernel.release, kernel.arch, kernel.compiler) == (KERNEL, "x86_64", "gcc-14")
    assert kernel.image.read_text(encoding="utf-8") == "image"


def test_folder_with_half_of_the_packages(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "debs"
    name = f"linux-image-{KERNEL}"
    build_deb(folder / name, name, VERSION, kernel_files(KERNEL)[name]).rename(folder / "a.deb")
    with pytest.raises(HarnessError, match=f"packages are missing in it: linux-headers-{KERNEL}\n") as caught:
        resolve.resolve_kernel(str(folder), settings, Silent())
    assert caught.value.exit_code == Exit.NO_VERDICT
    assert caught.value.hint == f"cd {folder} && apt-get download linux-headers-{KERNEL}"
    assert [path.name for path in settings.cache.glob("debs/*")] == []
