// SPDX-License-Identifier: GPL-2.0-only
/* filesystem.c - types of file systems; one that is mounted cannot be undone */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "force_rmmod.h"

static bool fr_filesystem_is_of(const struct file_system_type *type, const struct module *victim)
{
	return type->owner == victim || fr_victim_has(victim, type);
}

static void *fr_filesystem_list;
static rwlock_t *fr_filesystem_lock;

static bool fr_filesystem_resolve(void)
{
	fr_filesystem_list = fr_lookup("file_systems", sizeof(void *));
	if (COMPAT_HAVE_FILESYSTEMS_LOCK)
		fr_filesystem_lock = fr_lookup("file_systems_lock", sizeof(rwlock_t));

	return fr_filesystem_list && (fr_filesystem_lock || !COMPAT_HAVE_FILESYSTEMS_LOCK);
}

static int fr_filesystem_find(struct module *victim, struct fr_finds *finds)
{
	struct file_system_type *type;
	int ret = 0;

	if (!fr_filesystem_resolve())
		return -EOPNOTSUPP;

	compat_filesystems_lock(fr_filesystem_lock);
	compat_for_each_filesystem(type, fr_filesystem_list) {
		if (!fr_filesystem_is_of(type, victim))
			continue;
		ret = fr_found(finds, type, 0, "%s", type->name);
		if (ret)
			break;
	}
	compat_filesystems_unlock(fr_filesystem_lock);

	return ret;
}

struct file_system_type *fr_filesystem_mounted(struct module *victim, int n)
{
	struct file_system_type *type, *found = NULL;

	if (!fr_filesystem_resolve())
		return NULL;

	compat_filesystems_lock(fr_filesystem_lock);
	compat_for_each_filesystem(type, fr_filesystem_list) {
		if (!fr_filesystem_is_of(type, victim) || hlist_empty(&type->fs_supers) || n--)
			continue;
		found = type;
		break;
	}
	compat_filesystems_unlock(fr_filesystem_lock);

	return found;
}

static int fr_filesystem_check(struct module *victim, void *object)
{
	struct file_system_type *type = object;

	return hlist_empty(&type->fs_supers) ? 0 : -EBUSY;
}

static int fr_filesystem_undo(struct module *victim, void *object)
{
	return unregister_filesystem(object);
}

const struct fr_kind fr_kind_filesystem = {
	.name = "file system type",
	.stage = FR_ENTRANCE,
	.find = fr_filesystem_find,
	.check = fr_filesystem_check,
	.undo = fr_filesystem_undo,
};
