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

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"

#define FR_DEBUGFS_DEPTH 8

/* Called, and calling, with the lock of the folder, as the VFS nests them. */
static int fr_debugfs_walk(struct fr_rescue *rescue, struct fr_finds *finds, struct dentry *folder,
			   int depth)
{
	struct dentry *child;
	int ret = 0;

	compat_for_each_child(child, folder) {
		if (fr_files_is_debugfs(rescue, child)) {
			ret = fr_found(finds, child, 0, "%pd2", child);
			if (!ret)
				dget(child);
		} else if (depth) {
			spin_lock_nested(&child->d_lock, DENTRY_D_LOCK_NESTED);
			ret = fr_debugfs_walk(rescue, finds, child, depth - 1);
			spin_unlock(&child->d_lock);
		}
		if (ret)
			break;
	}

	return ret;
}

static int fr_debugfs_find(struct fr_rescue *rescue, struct fr_finds *finds)
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
	ret = fr_debugfs_walk(rescue, finds, root, FR_DEBUGFS_DEPTH);
	spin_unlock(&root->d_lock);

	return ret;
}

static int fr_debugfs_undo(struct fr_rescue *rescue, void *object)
{
	debugfs_remove(object);
	return 0;
}

/* Its inode, and those of what is in it. */
static void fr_debugfs_cover_tree(struct dentry *dentry, struct fr_extents *covered, int depth)
{
	struct dentry *child;

	fr_extents_add_object(covered, dentry);
	fr_extents_add_object(covered, d_inode(dentry));
	fr_extents_add_object(covered, (void *)((unsigned long)READ_ONCE(dentry->d_fsdata) & ~1UL));
	if (!depth)
		return;

	spin_lock_nested(&dentry->d_lock, DENTRY_D_LOCK_NESTED);
	compat_for_each_child(child, dentry)
		fr_debugfs_cover_tree(child, covered, depth - 1);
	spin_unlock(&dentry->d_lock);
}

static void fr_debugfs_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	fr_debugfs_cover_tree(object, covered, FR_DEBUGFS_DEPTH);
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
	.cover = fr_debugfs_cover,
	.put = fr_debugfs_put,
};
