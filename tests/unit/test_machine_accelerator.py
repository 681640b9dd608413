# SPDX-License-Identifier: MIT
"""KVM is trusted only when proven, and the proof is remembered only for this boot of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.machine import accelerator, kvm


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("first\n", encoding="utf-8")
    monkeypatch.setattr(accelerator, "DEVICE", path)
    monkeypatch.setattr(accelerator, "BOOT_ID", boot_id)
    return path


class Probe:
    """Stands in for the guest program."""

    def __init__(self, usable: bool) -> None:
        self.usable = usable
        self.runs = 0

    def __call__(self) -> kvm.ProbeResult:
        self.runs += 1
        return kvm.ProbeResult(self.usable, "because")


@pytest.mark.parametrize(("usable", "name"), [(True, "kvm"), (False, "tcg")])
def test_auto_probes_once_per_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usable: bool, name: str
) -> None:
    probe = Probe(usable)
    monkeypatch.setattr(kvm, "probe", probe)
    cache = tmp_path / "cache"
    assert accelerator.choose("auto", cache) == accelerator.Accelerator(name, "because")
    assert accelerator.choose("auto", cache).name == name
    assert probe.runs == 1
    accelerator.BOOT_ID.write_text("second\n", encoding="utf-8")
    accelerator.choose("auto", cache)
    assert probe.runs == 2


def test_kvm_that_failed_in_earnest_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "probe", Probe(True))
    assert accelerator.choose("auto", tmp_path).name == "kvm"
    accelerator.distrust_kvm(tmp_path, "paused")
    assert accelerator.choose("auto", tmp_path) == accelerator.Accelerator("tcg", "paused")
    assert accelerator.choose("kvm", tmp_path).name == "kvm"


def test_without_device(tmp_path: Path, device: Path) -> None:
    device.unlink()
    assert accelerator.choose("auto", tmp_path) == accelerator.Accelerator("tcg", "there is no /dev/kvm")


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "probe", Probe(False))
    (tmp_path / "accelerator.json").write_text("{", encoding="utf-8")
    assert accelerator.choose("auto", tmp_path).name == "tcg"


def test_the_probe_always_ends_with_a_reason() -> None:
    result = kvm.probe()
    assert result.reason


def test_the_probe_is_ours_wherever_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kmod_harness").mkdir()
    (tmp_path / "kmod_harness" / "__init__.py").write_text(
        "raise SystemExit('another harness')\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert "another harness" not in kvm.probe().reason
