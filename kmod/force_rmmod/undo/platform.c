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
#include <linux/string.h>
#include <linux/sysfs.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

struct fr_platform_walk {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
};

/* Whether it can be the victim's, although a pointer is all that tells so. */
static bool fr_platform_is_likely(struct fr_rescue *rescue, struct device *dev)
{
	if (fr_words_serial(rescue, dev))
		return true;

	return fr_victim_precedes(rescue->victim, dev->kobj.sd) && !dev->fwnode &&
	       dev->parent == &platform_bus;
}

static int fr_platform_collect(struct device *dev, void *data)
{
	struct fr_platform_walk *walk = data;
	struct platform_device *pdev = to_platform_device(dev);
	u64 order = fr_devices_order(dev->kobj.sd);
	unsigned long *word;
	int ret;

	if (dev->bus != &platform_bus_type)
		return 0;

	if (fr_probe_is_unfinished(dev, walk->rescue->victim)) {
		ret = fr_found(walk->finds, dev, order, "%s, whose registration died",
			       dev_name(dev));
	} else if (fr_victim_has(walk->rescue->victim, pdev)) {
		ret = fr_found(walk->finds, dev, order, "%s, is %ps", dev_name(dev), pdev);
	} else {
		if (!fr_platform_is_likely(walk->rescue, dev))
			return 0;
		word = fr_words_find(walk->rescue, (unsigned long)pdev);
		if (!word)
			return 0;
		ret = fr_found(walk->finds, dev, order, "%s, kept in %ps", dev_name(dev), word);
	}

	if (!ret)
		get_device(dev);

	return ret;
}

static int fr_platform_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_platform_walk walk = { rescue, finds };

	return fr_devices_each(fr_platform_collect, &walk);
}

/* Unregistering takes this lock, and would wait for a dead owner. */
static int fr_platform_check(struct fr_rescue *rescue, void *object)
{
	return fr_probe_check_lock(rescue->victim, object);
}

static int fr_platform_undo(struct fr_rescue *rescue, void *object)
{
	struct device *dev = object;
	bool unfinished = fr_probe_finish(dev);

	platform_device_unregister(to_platform_device(dev));
	/* What device_add() holds until it returns. */
	if (unfinished)
		put_device(dev);

	return 0;
}

static void fr_platform_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct device *dev = object;

	fr_devres_cover(dev, covered);
	fr_sysfs_cover(&dev->kobj, covered);
}

/*
 * Its directory in sysfs, as others see it too, gets another name; nobody is waited for.
 * One on its way out is left alone. The link on its bus does not follow by itself.
 */
static void fr_platform_rename(void *object)
{
	struct device *dev = object;
	struct kset *bus = bus_get_kset((struct bus_type *)&platform_bus_type);
	struct compat_subsys_private *priv = container_of(bus, struct compat_subsys_private, subsys);
	struct kernfs_node *node = dev->kobj.sd;
	char old[64], new[80];
	int number, ret = -EEXIST;

	if (!node || atomic_read(&node->active) < 0 || !dev->kobj.state_in_sysfs)
		return;

	strscpy(old, dev_name(dev), sizeof(old));
	for (number = 1; ret == -EEXIST && number < 1000; number++) {
		snprintf(new, sizeof(new), "%s~%d", old, number);
		ret = device_rename(dev, new);
	}
	if (!ret && priv->devices_kset)
		ret = sysfs_rename_link(&priv->devices_kset->kobj, &dev->kobj, old, new);
	if (!ret)
		pr_info("device %s is %s now\n", old, new);
}

static void fr_platform_put(void *object)
{
	put_device(object);
}

const struct fr_kind fr_kind_platform = {
	.name = "platform device",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_platform_find,
	.check = fr_platform_check,
	.undo = fr_platform_undo,
	.cover = fr_platform_cover,
	.rename = fr_platform_rename,
	.put = fr_platform_put,
};
