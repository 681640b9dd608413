// SPDX-License-Identifier: GPL-2.0-only
/*
 * class.c - classes, and devices without a kind of their own
 *
 * A class is the victim's if it lies in its memory or its name is a string of
 * it. A device is, if its class or its release is, or if the victim's data holds
 * a pointer to it and device_create() made it.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

static bool fr_class_is_of(const struct class *class, const struct module *victim)
{
	return class && (fr_victim_has(victim, class) || fr_victim_has(victim, class->name));
}

static int fr_class_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct kset **classes = fr_lookup("class_kset", sizeof(*classes));
	struct compat_subsys_private *priv;
	struct kobject *kobj;
	bool known = false;
	int ret = 0;

	if (!classes)
		return -EOPNOTSUPP;

	spin_lock(&(*classes)->list_lock);
	list_for_each_entry(kobj, &(*classes)->list, entry) {
		priv = container_of(kobj, struct compat_subsys_private, subsys.kobj);
		if (!fr_layout_is_named(&priv->class->name, kobject_name(kobj)))
			continue;
		known = true;
		if (!fr_class_is_of(priv->class, rescue->victim))
			continue;
		ret = fr_found(finds, (void *)priv->class, fr_devices_order(kobj->sd), "%s",
			       priv->class->name);
		if (ret)
			break;
	}
	spin_unlock(&(*classes)->list_lock);

	return ret || known ? ret : fr_layout_unknown("subsys_private");
}

static int fr_class_undo(struct fr_rescue *rescue, void *object)
{
	class_unregister(object);
	return 0;
}

const struct fr_kind fr_kind_class = {
	.name = "class",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_class_find,
	.undo = fr_class_undo,
};

/* ---- devices ---- */

struct fr_device_walk {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
};

static bool fr_device_is_created(const struct device *dev)
{
	char name[32];

	snprintf(name, sizeof(name), "%ps", dev->release);
	return !strcmp(name, "device_create_release");
}

static bool fr_device_is_of(struct device *dev, struct fr_rescue *rescue)
{
	const struct module *victim = rescue->victim;

	if (fr_class_is_of(dev->class, victim) || fr_victim_has(victim, dev->release) ||
	    fr_victim_has(victim, dev->type) || fr_victim_has(victim, dev->bus))
		return true;

	return fr_victim_precedes(victim, dev->kobj.sd) && fr_device_is_created(dev) &&
	       fr_words_find(rescue, (unsigned long)dev);
}

static int fr_device_collect(struct device *dev, void *data)
{
	struct fr_device_walk *walk = data;
	int ret;

	/* Those have rows of their own. */
	if (dev->bus == &platform_bus_type || !fr_device_is_of(dev, walk->rescue))
		return 0;

	ret = fr_found(walk->finds, dev, fr_devices_order(dev->kobj.sd), "%s", dev_name(dev));
	if (!ret)
		get_device(dev);

	return ret;
}

static int fr_device_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_device_walk walk = { rescue, finds };

	return fr_devices_each(fr_device_collect, &walk);
}

static int fr_device_check(struct fr_rescue *rescue, void *object)
{
	return fr_probe_check_lock(rescue->victim, object);
}

static int fr_device_undo(struct fr_rescue *rescue, void *object)
{
	device_unregister(object);
	return 0;
}

static void fr_device_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct device *dev = object;

	fr_devres_cover(dev, covered);
	fr_sysfs_cover(&dev->kobj, covered);
}

static void fr_device_put(void *object)
{
	put_device(object);
}

const struct fr_kind fr_kind_device = {
	.name = "device",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_device_find,
	.check = fr_device_check,
	.undo = fr_device_undo,
	.cover = fr_device_cover,
	.put = fr_device_put,
};
