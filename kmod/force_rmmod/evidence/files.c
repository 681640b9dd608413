// SPDX-License-Identifier: GPL-2.0-only
/*
 * files.c - whether what is behind a file, or a file system, is the victim's
 *
 * Files of /proc, sysfs and debugfs have operations of their file system, which say
 * nothing: what is behind them is looked at. A folder of debugfs is the victim's, if the
 * victim's data holds a pointer to it, its name is a string of the victim, and no file
 * in it is another module's.
 */
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/kernfs.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>

#include <net/net_namespace.h>

#include "evidence/evidence.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

/* ---- /proc ---- */

bool fr_files_is_proc(const struct module *victim, const struct compat_proc_dir_entry *entry)
{
	return fr_victim_has(victim, entry->proc_ops) || fr_victim_has(victim, entry->seq_ops) ||
	       fr_victim_has(victim, entry->proc_iops) || fr_victim_has(victim, entry->data) ||
	       fr_victim_has(victim, entry->write);
}

/* Of all files of /proc that modules make, the one with a number; or NULL. */
static struct compat_proc_dir_entry *
fr_files_numbered(struct compat_proc_dir_entry *folder, unsigned long number, int depth)
{
	struct compat_proc_dir_entry *entry, *found = NULL;

	for (entry = fr_files_entry(rb_first(&folder->subdir)); entry && !found;
	     entry = fr_files_entry(rb_next(&entry->subdir_node))) {
		if (S_ISREG(entry->mode) && entry->low_ino == number)
			found = entry;
		else if (S_ISDIR(entry->mode) && depth)
			found = fr_files_numbered(entry, number, depth - 1);
	}

	return found;
}

static bool fr_files_is_behind_proc(const struct module *victim, const struct inode *inode)
{
	struct compat_proc_dir_entry *root = fr_lookup("proc_root", sizeof(*root));
	rwlock_t *lock = fr_lookup("proc_subdir_lock", sizeof(*lock));
	struct compat_proc_dir_entry *net = (void *)init_net.proc_net, *entry;
	bool found;

	if (!root || !lock)
		return false;

	read_lock(lock);
	entry = fr_files_numbered(root, inode->i_ino, FR_PROC_DEPTH);
	if (!entry && net)
		entry = fr_files_numbered(net, inode->i_ino, FR_PROC_DEPTH);
	found = entry && fr_files_is_proc(victim, entry);
	read_unlock(lock);

	return found;
}

/* ---- sysfs ---- */

static bool fr_files_is_behind_sysfs(const struct module *victim, const struct inode *inode)
{
	const struct kernfs_node *node = inode->i_private;

	return S_ISREG(inode->i_mode) && node && fr_victim_has(victim, node->priv);
}

/* ---- debugfs ---- */

/* Called with the lock of the folder. */
static bool fr_files_is_shared(const struct module *victim, struct dentry *folder)
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

static bool fr_files_is_folder(struct fr_rescue *rescue, struct dentry *folder)
{
	bool shared;

	if (!fr_words_find(rescue, (unsigned long)folder) ||
	    !fr_victim_has_string(rescue->victim, folder->d_name.name))
		return false;

	spin_lock_nested(&folder->d_lock, DENTRY_D_LOCK_NESTED);
	shared = fr_files_is_shared(rescue->victim, folder);
	spin_unlock(&folder->d_lock);

	return !shared;
}

bool fr_files_is_debugfs(struct fr_rescue *rescue, struct dentry *dentry)
{
	const struct module *victim = rescue->victim;
	struct inode *inode = d_inode(dentry);

	if (!inode)
		return false;

	if (S_ISDIR(inode->i_mode))
		return fr_files_is_folder(rescue, dentry);

	/* What is neither, a link, has its target in that place. */
	return fr_victim_has(victim, inode->i_private) ||
	       (S_ISREG(inode->i_mode) && fr_victim_has(victim, compat_debugfs_ops(dentry)));
}

/* ---- whatever is open ---- */

bool fr_files_is_behind(struct fr_rescue *rescue, const struct file *file)
{
	struct inode *inode = file_inode(file);

	switch (inode->i_sb->s_magic) {
	case PROC_SUPER_MAGIC:
		return fr_files_is_behind_proc(rescue->victim, inode);
	case SYSFS_MAGIC:
		return fr_files_is_behind_sysfs(rescue->victim, inode);
	case DEBUGFS_MAGIC:
		return S_ISREG(inode->i_mode) && fr_files_is_debugfs(rescue, file_dentry(file));
	default:
		return false;
	}
}

/* ---- types of file systems ---- */

int fr_files_each_type(const struct module *victim,
		       int (*fn)(struct file_system_type *type, void *data), void *data)
{
	void *list = fr_lookup("file_systems", sizeof(void *));
	struct file_system_type *type;
	rwlock_t *lock = NULL;
	int ret = 0;

	if (COMPAT_HAVE_FILESYSTEMS_LOCK)
		lock = fr_lookup("file_systems_lock", sizeof(*lock));
	if (!list || (COMPAT_HAVE_FILESYSTEMS_LOCK && !lock))
		return -EOPNOTSUPP;

	compat_filesystems_lock(lock);
	compat_for_each_filesystem(type, list) {
		if (type->owner != victim && !fr_victim_has(victim, type))
			continue;
		ret = fn(type, data);
		if (ret)
			break;
	}
	compat_filesystems_unlock(lock);

	return ret;
}

struct fr_files_mount {
	int n;
	struct file_system_type *found;
};

static int fr_files_count(struct file_system_type *type, void *data)
{
	struct fr_files_mount *mount = data;

	if (hlist_empty(&type->fs_supers) || mount->n--)
		return 0;

	mount->found = type;
	return 1;
}

struct file_system_type *fr_files_mounted(const struct module *victim, int n)
{
	struct fr_files_mount mount = { .n = n };

	fr_files_each_type(victim, fr_files_count, &mount);
	return mount.found;
}
