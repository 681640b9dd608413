// SPDX-License-Identifier: GPL-2.0-only
/*
 * proc.c - files and folders of /proc, and sysctl tables
 *
 * A file is the victim's if its operations or its data are. A folder has neither:
 * it is, if the victim's data holds a pointer to it, its name is a string of the
 * victim, and nothing of anybody else is in it. Network files and tables of the first
 * namespace have trees of their own.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/sysctl.h>

#include <net/net_namespace.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* Whether all that is in a folder, at one level, is the victim's. */
static bool fr_proc_is_folder_of(struct fr_rescue *rescue, struct compat_proc_dir_entry *entry)
{
	struct compat_proc_dir_entry *child;

	if (!S_ISDIR(entry->mode) || !fr_words_find(rescue, (unsigned long)entry) ||
	    !fr_victim_has_string(rescue->victim, entry->name))
		return false;

	for (child = fr_files_entry(rb_first(&entry->subdir)); child;
	     child = fr_files_entry(rb_next(&child->subdir_node)))
		if (!fr_files_is_proc(rescue->victim, child) &&
		    !fr_proc_is_folder_of(rescue, child))
			return false;

	return true;
}

static int fr_proc_walk(struct fr_rescue *rescue, struct fr_finds *finds,
			struct compat_proc_dir_entry *folder, int depth)
{
	struct compat_proc_dir_entry *entry;
	int ret = 0;

	for (entry = fr_files_entry(rb_first(&folder->subdir)); entry && !ret;
	     entry = fr_files_entry(rb_next(&entry->subdir_node))) {
		if (fr_files_is_proc(rescue->victim, entry) || fr_proc_is_folder_of(rescue, entry))
			ret = fr_found(finds, entry, 0, "%s", entry->name);
		else if (S_ISDIR(entry->mode) && depth)
			ret = fr_proc_walk(rescue, finds, entry, depth - 1);
	}

	return ret;
}

/* The root is its own parent. */
static bool fr_proc_is_known(const struct compat_proc_dir_entry *root)
{
	struct compat_proc_dir_entry *first = fr_files_entry(rb_first(&root->subdir));

	return root->parent == root && S_ISDIR(root->mode) &&
	       fr_layout_is_string(root->name, "/proc") &&
	       fr_layout_is_word(&first->parent, root);
}

static int fr_proc_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct compat_proc_dir_entry *root = fr_lookup("proc_root", sizeof(*root));
	rwlock_t *lock = fr_lookup("proc_subdir_lock", sizeof(*lock));
	struct compat_proc_dir_entry *net = (void *)init_net.proc_net;
	int ret;

	if (!root || !lock)
		return -EOPNOTSUPP;
	if (!fr_proc_is_known(root))
		return fr_layout_unknown("proc_dir_entry");

	read_lock(lock);
	ret = fr_proc_walk(rescue, finds, root, FR_PROC_DEPTH);
	if (!ret && net)
		ret = fr_proc_walk(rescue, finds, net, FR_PROC_DEPTH);
	read_unlock(lock);

	return ret;
}

static int fr_proc_undo(struct fr_rescue *rescue, void *object)
{
	proc_remove(object);
	return 0;
}

static void fr_proc_cover_below(struct compat_proc_dir_entry *folder, struct fr_extents *covered,
				int depth)
{
	struct compat_proc_dir_entry *entry;

	for (entry = fr_files_entry(rb_first(&folder->subdir)); entry;
	     entry = fr_files_entry(rb_next(&entry->subdir_node))) {
		fr_extents_add_object(covered, entry);
		if (S_ISDIR(entry->mode) && depth)
			fr_proc_cover_below(entry, covered, depth - 1);
	}
}

/* A folder goes with all that is in it. */
static void fr_proc_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	rwlock_t *lock = fr_lookup("proc_subdir_lock", sizeof(*lock));

	if (!lock)
		return;
	read_lock(lock);
	fr_proc_cover_below(object, covered, FR_PROC_DEPTH);
	read_unlock(lock);
}

const struct fr_kind fr_kind_proc = {
	.name = "proc entry",
	.stage = FR_ENTRANCE,
	.find = fr_proc_find,
	.undo = fr_proc_undo,
	.cover = fr_proc_cover,
};

/* ---- sysctl ---- */

static bool fr_sysctl_is_folder(const struct ctl_table_header *header)
{
	return S_ISDIR(header->ctl_table[0].mode);
}

static int fr_sysctl_walk(const struct module *victim, struct fr_finds *finds,
			  struct ctl_dir *folder, int depth)
{
	struct ctl_table_header *header, *last = NULL;
	struct rb_node *node;
	int ret = 0;

	for (node = rb_first(&folder->root); node && !ret; node = rb_next(node)) {
		header = rb_entry(node, struct ctl_node, node)->header;
		if (fr_sysctl_is_folder(header)) {
			if (depth)
				ret = fr_sysctl_walk(victim, finds,
						     container_of(header, struct ctl_dir, header),
						     depth - 1);
		} else if (header != last && fr_victim_has(victim, header->ctl_table)) {
			ret = fr_found(finds, header, 0, "%s, in %ps",
				       header->ctl_table[0].procname, header->ctl_table);
			last = header;
		}
	}

	return ret;
}

static int fr_sysctl_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct ctl_table_root *root = fr_lookup("sysctl_table_root", sizeof(*root));
	spinlock_t *lock = fr_lookup("sysctl_lock", sizeof(*lock));
	int ret;

	if (!root || !lock)
		return -EOPNOTSUPP;

	spin_lock(lock);
	ret = fr_sysctl_walk(rescue->victim, finds, &root->default_set.dir, FR_PROC_DEPTH);
#ifdef CONFIG_SYSCTL
	if (!ret)
		ret = fr_sysctl_walk(rescue->victim, finds, &init_net.sysctls.dir, FR_PROC_DEPTH);
#endif
	spin_unlock(lock);

	return ret;
}

static int fr_sysctl_undo(struct fr_rescue *rescue, void *object)
{
	unregister_sysctl_table(object);
	return 0;
}

static void fr_sysctl_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	const struct ctl_table_header *header = object;
	unsigned long start, size;

	if (fr_owners_variable_at(rescue->victim, (unsigned long)header->ctl_table, &start, &size))
		fr_extents_add(covered, start, start + size);
}

const struct fr_kind fr_kind_sysctl = {
	.name = "sysctl table",
	.stage = FR_ENTRANCE,
	.find = fr_sysctl_find,
	.undo = fr_sysctl_undo,
	.cover = fr_sysctl_cover,
};
