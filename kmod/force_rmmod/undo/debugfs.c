// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs.c - files and folders of debugfs
 *
 * A file is the victim's if its real operations or its data are; a folder, if the
 * victim's data holds a pointer to it, its name is a string of the victim, and no file
 * in it is another module's. Removing a folder takes along what is in it.
 */
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/spinlock.h>

#include "force_rmmod.h"

#define FR_DEBUGFS_DEPTH 8

/* Called with the lock of the folder. */
static bool fr_debugfs_is_shared(struct module *victim, struct dentry *folder)
{
	struct dentry *child;
	const void *ops;

	compat_for_each_child(child, folder) {
		if (!d_inode(child) || !S_ISREG(d_inode(child)->i_mode))
			continue;
		ops = compat_debugfs_ops(child);
		if (compat_is_module_address(ops) && !fr_victim_has(victim, ops))
			return true;
	}

	return false;
}

static bool fr_debugfs_is_folder_of(struct module *victim, struct dentry *folder)
{
	bool shared;

	if (!fr_victim_holder(victim, (unsigned long)folder) ||
	    !fr_victim_has_string(victim, folder->d_name.name))
		return false;

	spin_lock_nested(&folder->d_lock, DENTRY_D_LOCK_NESTED);
	shared = fr_debugfs_is_shared(victim, folder);
	spin_unlock(&folder->d_lock);

	return !shared;
}

static bool fr_debugfs_is_of(struct module *victim, struct dentry *dentry)
{
	struct inode *inode = d_inode(dentry);

	if (!inode)
		return false;

	if (S_ISDIR(inode->i_mode))
		return fr_debugfs_is_folder_of(victim, dentry);

	/* What is neither, a link, has its target in that place. */
	return fr_victim_has(victim, inode->i_private) ||
	       (S_ISREG(inode->i_mode) && fr_victim_has(victim, compat_debugfs_ops(dentry)));
}

bool fr_debugfs_is_opened(struct module *victim, const struct file *file)
{
	return S_ISREG(file_inode(file)->i_mode) && fr_debugfs_is_of(victim, file_dentry(file));
}

/* Called, and calling, with the lock of the folder, as the VFS nests them. */
static int fr_debugfs_walk(struct module *victim, struct fr_finds *finds, struct dentry *folder,
			   int depth)
{
	struct dentry *child;
	int ret = 0;

	compat_for_each_child(child, folder) {
		if (fr_debugfs_is_of(victim, child)) {
			ret = fr_found(finds, child, 0, "%pd2", child);
			if (!ret)
				dget(child);
		} else if (depth) {
			spin_lock_nested(&child->d_lock, DENTRY_D_LOCK_NESTED);
			ret = fr_debugfs_walk(victim, finds, child, depth - 1);
			spin_unlock(&child->d_lock);
		}
		if (ret)
			break;
	}

	return ret;
}

static int fr_debugfs_find(struct module *victim, struct fr_finds *finds)
{
	struct vfsmount **mount;
	struct dentry *root;
	int ret;

	if (!IS_ENABLED(CONFIG_DEBUG_FS))
		return 0;

	mount = fr_lookup("debugfs_mount", sizeof(*mount));
	if (!mount)
		return -EOPNOTSUPP;
	if (!*mount)
		return 0;

	root = (*mount)->mnt_root;
	spin_lock(&root->d_lock);
	ret = fr_debugfs_walk(victim, finds, root, FR_DEBUGFS_DEPTH);
	spin_unlock(&root->d_lock);

	return ret;
}

static int fr_debugfs_undo(struct module *victim, void *object)
{
	debugfs_remove(object);
	return 0;
}

static void fr_debugfs_put(void *object)
{
	dput(object);
}

const struct fr_kind fr_kind_debugfs = {
	.name = "debugfs entry",
	.stage = FR_ENTRANCE,
	.find = fr_debugfs_find,
	.undo = fr_debugfs_undo,
	.put = fr_debugfs_put,
};
