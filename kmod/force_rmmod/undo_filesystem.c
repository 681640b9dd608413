// SPDX-License-Identifier: GPL-2.0-only
/* undo_filesystem.c - types of file systems; one that is mounted is refused */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "force_rmmod.h"

static int fr_filesystem_find(struct module *victim, struct fr_finds *finds)
{
	void *list = fr_lookup("file_systems", sizeof(void *));
	rwlock_t *lock = fr_lookup("file_systems_lock", sizeof(*lock));
	struct file_system_type *type;
	int ret = 0;

	if (!list || !lock)
		return -EOPNOTSUPP;

	read_lock(lock);
	compat_for_each_filesystem(type, list) {
		if (type->owner != victim && !fr_victim_has(victim, type))
			continue;
		if (!hlist_empty(&type->fs_supers)) {
			pr_err("held by: a mount of file system %s\n", type->name);
			ret = -EBUSY;
		} else {
			ret = fr_found(finds, type, 0, "%s", type->name);
		}
		if (ret)
			break;
	}
	read_unlock(lock);

	return ret;
}

static int fr_filesystem_undo(struct module *victim, void *object)
{
	return unregister_filesystem(object);
}

const struct fr_kind fr_kind_filesystem = {
	.name = "file system type",
	.stage = FR_ENTRANCE,
	.find = fr_filesystem_find,
	.undo = fr_filesystem_undo,
};
