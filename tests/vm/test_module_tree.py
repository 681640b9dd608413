# SPDX-License-Identifier: MIT
"""The kernel's own modules are at hand in the guest, for whoever asks: modprobe, the kernel, a driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kmod_harness.base.settings import DEFAULT_KERNEL
from kmod_harness.module.module import resolve_module
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest

pytestmark = pytest.mark.vm

ASKS_FOR_FIRMWARE = """
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/firmware.h>
#include <linux/module.h>
#include <linux/platform_device.h>

static DECLARE_COMPLETION(answered);

static void answer(const struct firmware *firmware, void *context)
{
	pr_info("asks: %s\\n", firmware ? "found" : "none");
	release_firmware(firmware);
	complete(&answered);
}

static int __init asks_init(void)
{
	struct platform_device *device = platform_device_register_simple("asks", -1, NULL, 0);
	int error;

	if (IS_ERR(device))
		return PTR_ERR(device);
	error = request_firmware_nowait(THIS_MODULE, FW_ACTION_NOUEVENT, "asks.bin", &device->dev,
					GFP_KERNEL, NULL, answer);
	if (!error)
		wait_for_completion(&answered);
	platform_device_unregister(device);
	return error;
}
module_init(asks_init);

static void __exit asks_exit(void)
{
}
module_exit(asks_exit);
MODULE_DESCRIPTION("asks user space for firmware and waits for the answer");
MODULE_LICENSE("GPL");
"""


def test_the_kernel_gets_what_it_requests_by_an_alias(guest: Guest) -> None:
    assert "isofs" not in guest.modules()
    result = guest.run("mount", "-t", "iso9660", "none", "/tmp")  # request_module("fs-iso9660")
    assert result.returncode != 0  # it is no disk
    assert "isofs" in guest.modules()


@pytest.fixture(scope="module")
def ordinary(workbench: Workbench) -> Iterator[Guest]:
    """A machine with the kernel that has all drivers, nearly all of them as modules."""
    with workbench.fleet.machine(workbench.kernel(DEFAULT_KERNEL), "modules") as (_, guest):
        yield guest


@pytest.mark.one_kernel
def test_modprobe_brings_dependencies_and_soft_ones(ordinary: Guest) -> None:
    assert not {"libcrc32c", "nf_conntrack"} & set(ordinary.modules())
    assert ordinary.run("/sbin/modprobe", "nf_conntrack").returncode == 0
    loaded = set(ordinary.modules())
    assert {"libcrc32c", "nf_conntrack"} <= loaded
    assert any(name.startswith("crc32c") for name in loaded)  # libcrc32c only asks for it softly


@pytest.mark.one_kernel
def test_firmware_is_denied_at_once(ordinary: Guest, workbench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "Kbuild").write_text("obj-m := asks.o\n", encoding="utf-8")
    (tmp_path / "asks.c").write_text(ASKS_FOR_FIRMWARE, encoding="utf-8")
    (build,) = workbench.build([(resolve_module(str(tmp_path)), workbench.kernel(DEFAULT_KERNEL))])
    assert build.state != "failed", build.problems
    assert ordinary.load(ordinary.put(build.objects[0]), seconds=20) == "ok"  # 60 s if nobody answered
    assert any(record.text == "asks: none" for record in ordinary.log())
