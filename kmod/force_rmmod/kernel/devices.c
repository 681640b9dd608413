// SPDX-License-Identifier: GPL-2.0-only
/*
 * devices.c - all registered devices, of every bus and class
 *
 * They are the members of one kset, which is not exported; platform_bus is in
 * it. The numbers of sysfs nodes only grow: of two objects the one with the
 * larger number was registered later.
 */
#include <linux/device.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>

#include "kernel/kernel.h"

int fr_devices_each(int (*fn)(struct device *dev, void *data), void *data)
{
	struct kset *kset = platform_bus.kobj.kset;
	struct kobject *kobj;
	int ret = 0;

	spin_lock(&kset->list_lock);
	list_for_each_entry(kobj, &kset->list, entry) {
		/* One that is on its way out stays until its count is zero. */
		if (!kref_read(&kobj->kref))
			continue;
		ret = fn(kobj_to_dev(kobj), data);
		if (ret)
			break;
	}
	spin_unlock(&kset->list_lock);

	return ret;
}

u64 fr_devices_order(const struct kernfs_node *node)
{
	return node ? node->id : 0;
}
