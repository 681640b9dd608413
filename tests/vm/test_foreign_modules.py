# SPDX-License-Identifier: MIT
"""A folder as others have it: several modules, one without its hardware, one that uses another's symbols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.module import resolve_module, resolve_modules
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.verdict.finding import Outcome

SOURCES = {
    "Makefile": """
ifneq ($(KERNELRELEASE),)
obj-m := nodev.o plat-drv.o usesym.o
ccflags-y += -I$(PWD)/include
else
all:
	$(MAKE) -C $(KDIR) M=$(PWD) modules
endif
""",
    "include/answer.h": "int plat_answer(void);\n",
    "nodev.c": """
#include <linux/module.h>
static int __init nodev_init(void) { pr_err("nodev: no card found\\n"); return -ENODEV; }
module_init(nodev_init);
MODULE_LICENSE("GPL");
""",
    "plat-drv.c": """
#include <linux/module.h>
#include <linux/platform_device.h>
#include "answer.h"
static int plat_probe(struct platform_device *device) { return 0; }
static struct platform_driver plat_driver = { .probe = plat_probe, .driver = { .name = "plat-drv" } };
module_platform_driver(plat_driver);
int plat_answer(void) { return 42; }
EXPORT_SYMBOL_GPL(plat_answer);
MODULE_LICENSE("GPL");
""",
    "usesym.c": """
#include <linux/module.h>
#include "answer.h"
static int wanted;
module_param(wanted, int, 0444);
static int __init usesym_init(void) { return plat_answer() == 42 ? 0 : -EIO; }
static void __exit usesym_exit(void) { }
module_init(usesym_init);
module_exit(usesym_exit);
MODULE_LICENSE("GPL");
""",
}
PCI = """
#include <linux/module.h>
#include <linux/pci.h>
static int edu_probe(struct pci_dev *device, const struct pci_device_id *id)
{
	dev_info(&device->dev, "edu here\\n");
	return 0;
}
static const struct pci_device_id edu_ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, { } };
MODULE_DEVICE_TABLE(pci, edu_ids);
static struct pci_driver edu_driver = { .name = "edu-drv", .id_table = edu_ids, .probe = edu_probe };
module_pci_driver(edu_driver);
MODULE_LICENSE("GPL");
"""
pytestmark = [pytest.mark.vm, pytest.mark.spread]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "it's (a) repo" / "src"
    (path / "include").mkdir(parents=True)
    for name, text in SOURCES.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def test_each_ko_of_a_folder_has_its_own_verdict(workbench: Workbench, kernel: Kernel, folder: Path) -> None:
    module = resolve_module(str(folder))
    (build,) = workbench.build([(module, kernel)])
    assert build.problems == ()
    checked = {one.name: one for one in workbench.check(module, kernel, lambda stage: None)}
    assert {name: one.verdict.outcome for name, one in checked.items()} == {
        "nodev": Outcome.NO_DEVICE,
        "plat_drv": Outcome.PASSED,
        "usesym": Outcome.PASSED,
    }
    assert checked["plat_drv"].observation.drivers == (("platform:plat-drv", 0),)


def test_load_module_brings_what_it_needs(load_module: Callable[..., str], guest: Guest, folder: Path) -> None:
    (folder / "Makefile").write_text(SOURCES["Makefile"].replace("nodev.o ", ""), encoding="utf-8")
    assert load_module(str(folder), wanted=7) == "usesym"
    assert guest.read("/sys/module/usesym/parameters/wanted") == "7\n"
    assert "plat_drv" in guest.modules()


def test_a_device_by_name_is_probed(workbench: Workbench, kernel: Kernel, tmp_path: Path) -> None:
    folder = tmp_path / "edu-drv"
    folder.mkdir()
    (folder / "Kbuild").write_text("obj-m := edu-drv.o\n", encoding="utf-8")
    (folder / "edu-drv.c").write_text(PCI, encoding="utf-8")
    (folder / "module.yaml").write_text(
        "devices: [edu]\nexpect_log: [edu here]\nreloads: 1\n", encoding="utf-8"
    )
    module = resolve_module(str(folder))
    workbench.build([(module, kernel)])
    (checked,) = workbench.check(module, kernel, lambda stage: None)
    assert checked.verdict.passed, checked.verdict.reasons
    assert checked.observation.drivers == (("pci:edu-drv", 1),)


@pytest.mark.devices("edu", "e1000")
def test_a_test_of_ones_own_has_devices(guest: Guest) -> None:
    ids = guest.run("sh", "-c", "cat /sys/bus/pci/devices/*/device").output.split()
    assert {"0x11e8", "0x100e"} <= set(ids)


def test_modules_together_are_loaded_while_one_is_tested(
    workbench: Workbench, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "Makefile").write_text(SOURCES["Makefile"].replace("nodev.o ", ""), encoding="utf-8")
    modules = resolve_modules([str(folder), "depend_a"])
    workbench.build([(one, kernel) for one in modules])
    monkeypatch.setattr(workbench, "company", tuple(modules))
    checked = {
        one.name: one for module in modules for one in workbench.check(module, kernel, lambda stage: None)
    }
    assert all(one.verdict.passed for one in checked.values())
    loaded = {name: [one for one, _ in seen.observation.dependencies] for name, seen in checked.items()}
    assert loaded == {
        "plat_drv": ["depend_s", "depend_a"],
        "usesym": ["plat_drv", "depend_s", "depend_a"],
        "depend_a": ["depend_s", "plat_drv", "usesym"],
    }
