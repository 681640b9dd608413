// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe.c - devices and drivers in the middle of a probe that died
 *
 * The dead task left the device with its lock taken and its driver set, but not
 * in the driver's list, probe_count one too high, and a reference of its list
 * iterator to the device (probed when the driver came) or to the driver (probed
 * when the device came). Unregistering the driver would not unbind the device,
 * and unregistering the device would wait for the dead.
 *
 * The device is bound to the end, under the lock that the dead still hold, to a
 * driver whose remove is not called, since probe never ended. So it is unbound as the
 * driver core does it, which also gives back what devres keeps; and that may be in use
 * by other things of the victim's, which go first: it is left to the rows of drivers
 * and devices. Only from a victim that stays is it unbound here, if none of them
 * is in there. Where remove cannot be kept from being called the driver is only taken
 * off the device, and what devres keeps stays.
 */
#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/klist.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/pm_runtime.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "facts.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* How far before the device the structure begins that it is part of, at most. */
#define FR_PROBE_BEFORE 1024

static struct compat_device_private *fr_probe_private(const struct device *dev)
{
	struct compat_device_private *priv = (struct compat_device_private *)dev->p;

	return fr_layout_is_word(&priv->device, dev) ? priv : NULL;
}

bool fr_probe_is_half(const struct device *dev, const struct module *victim)
{
	const struct compat_device_private *priv = fr_probe_private(dev);

	return priv && fr_victim_has(victim, dev->driver) &&
	       !klist_node_attached((struct klist_node *)&priv->knode_driver);
}

struct fr_probe_walk {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
};

static int fr_probe_collect(struct device *dev, void *data)
{
	struct fr_probe_walk *walk = data;
	int ret;

	if (dev->p && !fr_probe_private(dev))
		return fr_layout_unknown("device_private");
	if (!fr_probe_is_half(dev, walk->rescue->victim))
		return 0;

	ret = fr_found(walk->finds, dev, fr_devices_order(dev->kobj.sd), "%s, driver %s",
		       dev_name(dev), dev->driver->name);
	if (!ret)
		get_device(dev);

	return ret;
}

static void fr_probe_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct device *dev = object;

	fr_devres_cover(dev, covered);
	fr_sysfs_cover(&dev->kobj, covered);
}

static void fr_probe_put(void *object)
{
	put_device(object);
}

static int fr_probe_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_probe_walk walk = { rescue, finds };

	return fr_devices_each(fr_probe_collect, &walk);
}

/*
 * klist_iter_exit() gives back the reference of an iterator, which is what the
 * dead can no longer do. A living iterator has the node's address on its stack.
 */
static bool fr_probe_drop_iterator(struct klist_node *node)
{
	struct klist_iter iter = { .i_cur = node };

	if (!klist_node_attached(node) || kref_read(&node->n_ref) < 2 ||
	    fr_tasks_hold(node, sizeof(*node)))
		return false;

	klist_iter_exit(&iter);
	return true;
}

static void fr_probe_uncount(void)
{
	atomic_t *count = fr_lookup("probe_count", sizeof(*count));
	wait_queue_head_t *queue = fr_lookup("probe_waitqueue", sizeof(*queue));

	if (atomic_read(count) <= 0)
		return;

	atomic_dec(count);
	wake_up_all(queue);
}

static void fr_probe_unlink(struct device *dev, struct compat_driver_private *driver)
{
	sysfs_remove_link(&driver->kobj, dev_name(dev));
	sysfs_remove_link(&dev->kobj, "driver");
}

/* Entered with the lock that the dead hold, left without it. */
static void fr_probe_take_off(struct device *dev)
{
	pr_warn("device %s: what devres keeps for it stays behind\n", dev_name(dev));
	dev_set_drvdata(dev, NULL);
	dev->driver = NULL;
	device_unlock(dev);
}

/* The same. A driver that stays has its remove back, for other devices of it. */
static void fr_probe_bind(struct fr_rescue *rescue, struct device *dev)
{
	struct device_driver *driver = dev->driver;
	struct fr_remove remove;

	if (!fr_remove_silence(rescue->victim, driver, &remove)) {
		fr_probe_take_off(dev);
		return;
	}

	if (device_bind_driver(dev))
		fr_probe_take_off(dev);
	else
		device_unlock(dev);

	if (rescue->repairs_only) {
		device_release_driver(dev);
		fr_remove_restore(rescue->victim, driver, &remove);
	}
}

bool fr_probe_is_unfinished(const struct device *dev, const struct module *victim)
{
	struct compat_device_private *priv = fr_probe_private(dev);

	return priv && dev->parent && fr_victim_has(victim, dev->driver) &&
	       klist_node_attached(&priv->knode_bus) && !klist_node_attached(&priv->knode_parent);
}

/* Does what device_add() does after the probe and device_del() takes for granted. */
bool fr_probe_finish(struct device *dev)
{
	struct compat_device_private *priv = fr_probe_private(dev), *parent;

	if (!priv || !dev->parent || klist_node_attached(&priv->knode_parent))
		return false;

	parent = fr_probe_private(dev->parent);
	if (!parent)
		return false;

	klist_add_tail(&priv->knode_parent, &parent->klist_children);
	return true;
}

/*
 * Of a device on its way out neither its parent nor its bus knows any more; to its bus
 * it has been made known before probe.
 */
static bool fr_probe_is_leaving(const struct device *dev)
{
	struct compat_device_private *priv = fr_probe_private(dev);

	return priv && dev->parent && !klist_node_attached(&priv->knode_parent) &&
	       !klist_node_attached(&priv->knode_bus);
}

int fr_probe_check_lock(const struct module *victim, struct device *dev)
{
	if (fr_probe_is_leaving(dev)) {
		pr_err("device %s: somebody died who unregistered it\n", dev_name(dev));
		return -ENOTRECOVERABLE;
	}
	if (fr_probe_is_half(dev, victim) || fr_tasks_can_lock(&dev->mutex, dev_name(dev)))
		return 0;

	return fr_tasks_lock(&dev->mutex, (char *)dev - FR_PROBE_BEFORE,
			     FR_PROBE_BEFORE + sizeof(*dev)) == FR_LOCK_DEAD ? -ENOTRECOVERABLE :
									       -EBUSY;
}

static int fr_probe_check(struct fr_rescue *rescue, void *object)
{
	struct device *dev = object;
	enum fr_lock lock;

	if (!fr_tasks_knows_locks())
		return fr_layout_unknown("mutex");
	if (!fr_lookup("probe_count", sizeof(atomic_t)) ||
	    !fr_lookup("probe_waitqueue", sizeof(wait_queue_head_t)))
		return -EOPNOTSUPP;

	lock = fr_tasks_lock(&dev->mutex, (char *)dev - FR_PROBE_BEFORE,
			     FR_PROBE_BEFORE + sizeof(*dev));
	if (lock == FR_LOCK_DEAD)
		return 0;

	pr_err("device %s: %s\n", dev_name(dev),
	       lock == FR_LOCK_HELD ? "somebody living has its lock" :
				      "half bound, but not locked");
	return -EBUSY;
}

/*
 * Some buses, or types of devices, are probed with the parent's lock too, which then is
 * the same dead task's. One that is in the middle of a probe itself keeps it.
 */
static void fr_probe_unlock_parent(struct device *dev)
{
	struct device *parent = dev->parent;
	struct compat_device_private *priv = parent ? fr_probe_private(parent) : NULL;

	if (!priv || compat_mutex_owner(&parent->mutex) != compat_mutex_owner(&dev->mutex) ||
	    (parent->driver && !klist_node_attached(&priv->knode_driver)))
		return;

	fr_tell(FR_UNDO, "lock of device %s, its parent", dev_name(parent));
	device_unlock(parent);
}

static void fr_probe_put_parent(struct device *dev, bool attaching)
{
	if (!dev->parent)
		return;

	pm_runtime_put_noidle(dev->parent);
	if (attaching)
		pm_runtime_put_noidle(dev->parent);
}

/* One that goes has a row that does it for platform devices, later. */
static void fr_probe_end_registration(const struct fr_rescue *rescue, struct device *dev)
{
	bool platform = dev->bus == &platform_bus_type;

	if ((platform && !rescue->repairs_only) || !fr_probe_finish(dev) || !platform)
		return;

	/* Nobody else has learned of a device whose registration never ended. */
	fr_tell(FR_UNDO, "platform device %s, whose registration died", dev_name(dev));
	platform_device_unregister(to_platform_device(dev));
	/* What device_add() holds until it returns. */
	put_device(dev);
}

static int fr_probe_undo(struct fr_rescue *rescue, void *object)
{
	struct device *dev = object;
	struct compat_device_private *priv = fr_probe_private(dev);
	struct compat_driver_private *driver = (struct compat_driver_private *)dev->driver->p;
	bool attaching;

	fr_tell(FR_UNDO, "lock of device %s, whose owner died", dev_name(dev));
	attaching = fr_probe_drop_iterator(&driver->knode_bus);
	fr_probe_drop_iterator(&priv->knode_bus);
	fr_probe_unlink(dev, driver);
	fr_probe_put_parent(dev, attaching);
	fr_probe_unlock_parent(dev);
	fr_probe_bind(rescue, dev);
	fr_probe_uncount();
	fr_probe_end_registration(rescue, dev);

	return 0;
}

static struct device *fr_probe_device(void *object)
{
	return object;
}

const struct fr_kind fr_kind_half_probed = {
	.name = "half-probed device",
	.stage = FR_REPAIR,
	.frees = true,
	.find = fr_probe_find,
	.check = fr_probe_check,
	.undo = fr_probe_undo,
	.unbinds = fr_probe_device,
	.cover = fr_probe_cover,
	.put = fr_probe_put,
};
