// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform.c - platform devices that are still registered
 *
 * One that the victim allocated says nothing of the victim. It is the victim's if a word
 * of its data points to it, and it is one of those that modules make of nothing, not of
 * what firmware or another device describes: the victim may have looked up such a one.
 *
 * Unregistering takes the directory in sysfs with it, including attributes that
 * were added by hand, and waits for those who are reading or writing them.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "force_rmmod.h"

struct fr_platform_walk {
	struct module *victim;
	struct fr_finds *finds;
};

/* Whether it can be the victim's, although a pointer is all that tells so. */
static bool fr_platform_is_likely(struct module *victim, struct device *dev)
{
	if (fr_journal_serial(dev))
		return true;

	return fr_victim_is_older(victim, &dev->kobj) && !dev->fwnode &&
	       dev->parent == &platform_bus;
}

static int fr_platform_collect(struct device *dev, void *data)
{
	struct fr_platform_walk *walk = data;
	struct platform_device *pdev = to_platform_device(dev);
	u64 order = fr_devices_order(&dev->kobj);
	unsigned long *word;
	int ret;

	if (dev->bus != &platform_bus_type)
		return 0;

	if (fr_probe_is_unfinished(dev, walk->victim)) {
		ret = fr_found(walk->finds, dev, order, "%s, whose registration died",
			       dev_name(dev));
	} else if (fr_victim_has(walk->victim, pdev)) {
		ret = fr_found(walk->finds, dev, order, "%s, is %ps", dev_name(dev), pdev);
	} else {
		if (!fr_platform_is_likely(walk->victim, dev))
			return 0;
		word = fr_victim_holder(walk->victim, (unsigned long)pdev);
		if (!word)
			return 0;
		ret = fr_found(walk->finds, dev, order, "%s, held by %ps", dev_name(dev), word);
	}

	if (!ret)
		get_device(dev);

	return ret;
}

static int fr_platform_find(struct module *victim, struct fr_finds *finds)
{
	struct fr_platform_walk walk = { victim, finds };

	return fr_devices_each(fr_platform_collect, &walk);
}

/* Unregistering takes this lock, and would wait for a dead holder. */
static int fr_platform_check(struct module *victim, void *object)
{
	return fr_probe_check_lock(victim, object);
}

static int fr_platform_undo(struct module *victim, void *object)
{
	struct device *dev = object;
	bool unfinished = fr_probe_finish(dev);

	platform_device_unregister(to_platform_device(dev));
	/* What device_add() holds until it returns. */
	if (unfinished)
		put_device(dev);

	return 0;
}

static void fr_platform_put(void *object)
{
	put_device(object);
}

const struct fr_kind fr_kind_platform = {
	.name = "platform device",
	.stage = FR_OBJECT,
	.find = fr_platform_find,
	.check = fr_platform_check,
	.undo = fr_platform_undo,
	.put = fr_platform_put,
};
