// SPDX-License-Identifier: GPL-2.0-only
/*
 * undo_platform.c - platform devices that are still registered
 *
 * Unregistering takes the directory in sysfs with it, including attributes that
 * were added by hand, and waits for those who are reading or writing them.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "force_rmmod.h"

static int fr_platform_match(struct device *dev, const void *data)
{
	struct module *victim = (struct module *)data;
	struct platform_device *pdev = to_platform_device(dev);

	if (within_module((unsigned long)pdev, victim))
		return 1;

	return fr_victim_is_older(victim, &dev->kobj) &&
	       fr_victim_holder(victim, (unsigned long)pdev);
}

static int fr_platform_unregister(struct device *dev, struct module *victim, bool apply)
{
	struct platform_device *pdev = to_platform_device(dev);

	/* Unregistering takes this lock, and would wait for a dead holder. */
	if (!device_trylock(dev)) {
		pr_err("platform device %s: its lock is taken\n", dev_name(dev));
		return -EBUSY;
	}
	device_unlock(dev);

	if (!apply)
		return 0;

	if (within_module((unsigned long)pdev, victim))
		pr_info("undo: platform device %s, is %ps\n", dev_name(dev), pdev);
	else
		pr_info("undo: platform device %s, held by %ps\n", dev_name(dev),
			fr_victim_holder(victim, (unsigned long)pdev));
	platform_device_unregister(pdev);
	return 0;
}

int fr_undo_platform(struct module *victim, bool apply)
{
	struct device *dev, *last = NULL;
	int ret, count = 0;

	/* What was unregistered is off the list: start over after each. */
	while ((dev = bus_find_device(&platform_bus_type, apply ? NULL : last, victim,
				      fr_platform_match))) {
		put_device(last);
		last = dev;
		ret = fr_platform_unregister(dev, victim, apply);
		if (ret) {
			count = ret;
			break;
		}
		count++;
	}

	put_device(last);
	return count;
}
