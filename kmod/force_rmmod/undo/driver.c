// SPDX-License-Identifier: GPL-2.0-only
/*
 * driver.c - drivers, of any bus
 *
 * Those of every bus are found through the kset that all buses are in. A driver
 * is the victim's if it lies in its memory or names it as owner. Unregistering
 * unbinds its devices; the driver's remove is not called, if remove.c knows its bus.
 * On another a bound device is a risk that only force takes.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

static int fr_driver_judge(const struct fr_rescue *rescue, struct device_driver *drv,
			   struct compat_driver_private *priv)
{
	if (list_empty(&priv->klist_devices.k_list) || fr_remove_is_known(rescue->victim, drv))
		return 0;

	pr_err("driver %s: a device of bus %s is bound to it\n", drv->name, drv->bus->name);
	if (!rescue->options.force)
		return -EOPNOTSUPP;

	pr_warn("force: its remove will be called\n");
	return 0;
}

/* known: how many are what they should be, if not all; some may be on their way out. */
static int fr_driver_collect(const struct fr_rescue *rescue, struct fr_finds *finds,
			     struct kset *drivers, int *known)
{
	struct compat_driver_private *priv;
	struct device_driver *drv;
	struct kobject *kobj;
	int ret = 0;

	spin_lock(&drivers->list_lock);
	list_for_each_entry(kobj, &drivers->list, entry) {
		priv = container_of(kobj, struct compat_driver_private, kobj);
		drv = priv->driver;
		if (!fr_layout_is_word(&drv->p, priv))
			continue;
		++*known;
		if (drv->owner != rescue->victim && !fr_victim_has(rescue->victim, drv))
			continue;
		ret = fr_driver_judge(rescue, drv, priv);
		if (!ret)
			ret = fr_found(finds, drv, fr_devices_order(kobj->sd), "%s of bus %s",
				       drv->name, drv->bus->name);
		if (ret)
			break;
	}
	spin_unlock(&drivers->list_lock);

	return ret;
}

static int fr_driver_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct kset **buses = fr_lookup("bus_kset", sizeof(*buses));
	struct compat_subsys_private *bus;
	struct kset *next = NULL;
	struct kobject *kobj;
	int known = 0, ret = 0;

	if (!buses)
		return -EOPNOTSUPP;

	/* Buses come and go with modules, but not the drivers while we hold on. */
	spin_lock(&(*buses)->list_lock);
	list_for_each_entry(kobj, &(*buses)->list, entry) {
		bus = container_of(kobj, struct compat_subsys_private, subsys.kobj);
		next = bus->drivers_kset;
		if (!next)
			continue;
		ret = fr_layout_is_word(&next->kobj.parent, kobj) ?
			fr_driver_collect(rescue, finds, next, &known) :
			fr_layout_unknown("subsys_private");
		if (ret)
			break;
	}
	spin_unlock(&(*buses)->list_lock);

	return ret || known ? ret : fr_layout_unknown("driver_private");
}

static int fr_driver_check_device(struct device *dev, void *data)
{
	return fr_probe_check_lock(data, dev);
}

/* Unregistering takes the driver off its bus's list first, then the locks of its devices. */
static int fr_driver_check(struct fr_rescue *rescue, void *object)
{
	struct device_driver *drv = object;
	struct compat_driver_private *priv = (struct compat_driver_private *)drv->p;

	if (!klist_node_attached(&priv->knode_bus)) {
		pr_err("driver %s: somebody died who unregistered it\n", drv->name);
		return -ENOTRECOVERABLE;
	}

	return driver_for_each_device(drv, NULL, rescue->victim, fr_driver_check_device);
}

static int fr_driver_undo(struct fr_rescue *rescue, void *object)
{
	struct fr_remove remove;

	fr_remove_silence(rescue->victim, object, &remove);
	driver_unregister(object);
	return 0;
}

/* What its devices have for it goes when they are unbound. */
static int fr_driver_cover_device(struct device *dev, void *data)
{
	unsigned long word = (unsigned long)&dev->driver_data;

	fr_extents_add(data, word, word + sizeof(dev->driver_data));
	fr_devres_cover(dev, data);
	return 0;
}

static void fr_driver_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	if (driver_for_each_device(object, NULL, covered, fr_driver_cover_device))
		return;
}

const struct fr_kind fr_kind_driver = {
	.name = "driver",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_driver_find,
	.check = fr_driver_check,
	.undo = fr_driver_undo,
	.cover = fr_driver_cover,
};
