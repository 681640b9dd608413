// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe.c - a driver whose probe dies
 *
 * Called from the registration of the driver (probe), of the device
 * (probe_attach), or later, by a worker (probe_async); for a platform device of its
 * own, or for a device of the PCI bus that nobody wants (probe_pci). The dead task
 * leaves the device's lock taken, the device half bound, and probes counted as
 * running. The log shows "resources of NAME given back" when they are. With
 * probe_devres things that are in use lie in what is given back. With probe_remove it
 * is not probe that dies, but what gives back, when exit unregisters the driver.
 */
#include <linux/device.h>
#include <linux/etherdevice.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/string.h>
#include <linux/timer.h>

#include "faults.h"

#define FA_PROBE_NAME "faults_probe"

static struct platform_device *fa_probe_device;

static bool fa_probe_ends;

static void fa_probe_given_back(void *data)
{
	pr_info("resources of %s given back\n", dev_name(data));
	if (fa_fault && fa_probe_ends)
		fa_die_null();
}

struct fa_probe_memory {
	struct timer_list timer;
	struct miscdevice misc;
};

static bool fa_probe_in_use;

static void fa_probe_fires(struct timer_list *timer)
{
}

static irqreturn_t fa_probe_interrupted(int irq, void *data)
{
	return IRQ_NONE;
}

static const struct file_operations fa_probe_fops = {
	.owner = THIS_MODULE,
};

static int fa_probe_use_memory(struct device *dev)
{
	struct fa_probe_memory *memory = devm_kzalloc(dev, sizeof(*memory), GFP_KERNEL);

	if (!memory)
		return -ENOMEM;

	timer_setup(&memory->timer, fa_probe_fires, 0);
	mod_timer(&memory->timer, jiffies + 3600 * HZ);
	memory->misc = (struct miscdevice){
		.minor = MISC_DYNAMIC_MINOR,
		.name = FA_PROBE_NAME,
		.fops = &fa_probe_fops,
	};
	return misc_register(&memory->misc);
}

static int fa_probe_use_netdev(struct device *dev)
{
	struct net_device *netdev = devm_alloc_etherdev(dev, 0);

	if (!netdev)
		return -ENOMEM;

	SET_NETDEV_DEV(netdev, dev);
	netdev->netdev_ops = &fa_netdev_ops;
	strscpy(netdev->name, "faults%d", sizeof(netdev->name));
	eth_hw_addr_random(netdev);
	return register_netdev(netdev);
}

/* All of which but the interrupt is for remove to end. */
static int fa_probe_use(struct device *dev)
{
	int ret;

	ret = devm_request_irq(dev, FA_IRQ, fa_probe_interrupted, 0, FA_PROBE_NAME, dev);
	if (!ret)
		ret = fa_probe_use_memory(dev);
	if (!ret)
		ret = fa_probe_use_netdev(dev);

	return ret;
}

/* Leaves something to devres, which the rescue should give back. */
static int fa_probe_any(struct device *dev)
{
	int ret;

	ret = devm_add_action_or_reset(dev, fa_probe_given_back, dev);
	if (ret)
		return ret;

	if (fa_fault && fa_probe_in_use)
		ret = fa_probe_use(dev);
	if (fa_fault && !ret && !fa_probe_ends)
		fa_die_null();

	return ret;
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

int fa_probe_devres_start(void)
{
	fa_probe_in_use = true;
	return fa_probe_start();
}

int fa_probe_remove_start(void)
{
	fa_probe_ends = true;
	return fa_probe_start();
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

int fa_probe_async_devres_start(void)
{
	fa_probe_in_use = true;
	return fa_probe_async_start();
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
