// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe.c - a driver whose probe dies
 *
 * Called from the registration of the driver (probe), of the device
 * (probe_attach), or later, by a worker (probe_async); for a platform device of its
 * own, or for a device of the PCI bus that nobody wants (probe_pci). The dead task
 * leaves the device's lock taken, the device half bound, and probes counted as
 * running. The log shows "resources of NAME given back" when they are.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/pci.h>
#include <linux/platform_device.h>

#include "faults.h"

#define FA_PROBE_NAME "faults_probe"

static struct platform_device *fa_probe_device;

static void fa_probe_given_back(void *data)
{
	pr_info("resources of %s given back\n", dev_name(data));
}

/* Leaves something to devres, which the rescue should give back. */
static int fa_probe_any(struct device *dev)
{
	int ret;

	ret = devm_add_action_or_reset(dev, fa_probe_given_back, dev);
	if (ret)
		return ret;

	if (fa_fault)
		fa_die_null();

	return 0;
}

static int fa_probe(struct platform_device *pdev)
{
	return fa_probe_any(&pdev->dev);
}

static struct platform_driver fa_probe_driver = {
	.probe = fa_probe,
	.driver = { .name = FA_PROBE_NAME },
};

static int fa_probe_add_device(void)
{
	fa_probe_device = platform_device_register_simple(FA_PROBE_NAME, PLATFORM_DEVID_NONE,
							  NULL, 0);
	return PTR_ERR_OR_ZERO(fa_probe_device);
}

int fa_probe_start(void)
{
	int ret;

	ret = fa_probe_add_device();
	if (ret)
		return ret;

	ret = platform_driver_register(&fa_probe_driver);
	if (ret)
		platform_device_unregister(fa_probe_device);

	return ret;
}

void fa_probe_stop(void)
{
	platform_driver_unregister(&fa_probe_driver);
	platform_device_unregister(fa_probe_device);
}

int fa_probe_attach_start(void)
{
	int ret;

	ret = platform_driver_register(&fa_probe_driver);
	if (ret)
		return ret;

	ret = fa_probe_add_device();
	if (ret)
		platform_driver_unregister(&fa_probe_driver);

	return ret;
}

void fa_probe_attach_stop(void)
{
	fa_probe_stop();
}

/* The misc device lets somebody hold the module while the probe is dead. */
int fa_probe_async_start(void)
{
	int ret;

	ret = fa_misc_start();
	if (ret)
		return ret;

	fa_probe_driver.driver.probe_type = PROBE_PREFER_ASYNCHRONOUS;
	ret = fa_probe_start();
	if (ret)
		fa_misc_stop();

	return ret;
}

void fa_probe_async_stop(void)
{
	fa_probe_stop();
	fa_misc_stop();
}

static int fa_probe_pci(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return fa_probe_any(&pdev->dev);
}

/* Filled in with a device that is there; the last one ends the table. */
static struct pci_device_id fa_probe_pci_ids[2];

static struct pci_driver fa_probe_pci_driver = {
	.name = FA_PROBE_NAME,
	.id_table = fa_probe_pci_ids,
	.probe = fa_probe_pci,
};

int fa_probe_pci_start(void)
{
	struct pci_dev *pdev = NULL;

	do {
		pdev = pci_get_device(PCI_ANY_ID, PCI_ANY_ID, pdev);
	} while (pdev && pdev->dev.driver);
	if (!pdev)
		return -ENODEV;

	fa_probe_pci_ids[0] = (struct pci_device_id){ PCI_DEVICE(pdev->vendor, pdev->device) };
	pci_dev_put(pdev);

	return pci_register_driver(&fa_probe_pci_driver);
}

void fa_probe_pci_stop(void)
{
	pci_unregister_driver(&fa_probe_pci_driver);
}
