// SPDX-License-Identifier: GPL-2.0-only
/* misc.c - misc devices: in the victim's memory, or with its operations */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

static bool fr_misc_is_of(const struct miscdevice *misc, const struct module *victim)
{
	return fr_victim_has(victim, misc) || fr_victim_has(victim, misc->fops) ||
	       (misc->fops && misc->fops->owner == victim);
}

static int fr_misc_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup("misc_list", sizeof(*list));
	struct mutex *lock = fr_lookup("misc_mtx", sizeof(*lock));
	struct miscdevice *misc;
	int ret = 0;

	if (!list || !lock)
		return -EOPNOTSUPP;
	if (!fr_tasks_can_lock(lock, "misc_mtx"))
		return -EBUSY;

	mutex_lock(lock);
	list_for_each_entry(misc, list, list) {
		if (!fr_misc_is_of(misc, rescue->victim))
			continue;
		ret = fr_found(finds, misc, 0, "%s, minor %d", misc->name, misc->minor);
		if (ret)
			break;
	}
	mutex_unlock(lock);

	return ret;
}

static int fr_misc_undo(struct fr_rescue *rescue, void *object)
{
	misc_deregister(object);
	return 0;
}

static void fr_misc_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct device *dev = ((struct miscdevice *)object)->this_device;

	if (!dev)
		return;

	fr_extents_add_object(covered, dev);
	fr_sysfs_cover(&dev->kobj, covered);
}

const struct fr_kind fr_kind_misc = {
	.name = "misc device",
	.stage = FR_ENTRANCE,
	.find = fr_misc_find,
	.undo = fr_misc_undo,
	.cover = fr_misc_cover,
};
