/* SPDX-License-Identifier: GPL-2.0-only */
/* evidence.h - who holds the victim, what leads into it, and whether that is alive */
#ifndef FORCE_RMMOD_EVIDENCE_H
#define FORCE_RMMOD_EVIDENCE_H

#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/types.h>

#include "rescue.h"

struct dentry;
struct device;
struct file;
struct file_system_type;
struct task_struct;

/*
 * references.c: tells which living tasks may return into the victim, and how many; of
 * those who only wait for asynchronous calls to be done, with but_waiters, none counts.
 */
int fr_references_tell(struct fr_rescue *rescue, bool but_waiters);

/* Whether anybody living is in it, its own threads included. */
bool fr_references_inside(const struct module *victim);

/* Whether a task is a living kernel thread of the victim's own. */
bool fr_references_is_thread(struct task_struct *task, const struct module *victim);

/* How deep in /proc, below its root, anything is looked for. */
#define FR_PROC_DEPTH 8

static inline struct compat_proc_dir_entry *fr_files_entry(struct rb_node *node)
{
	return rb_entry_safe(node, struct compat_proc_dir_entry, subdir_node);
}

/*
 * files.c: whether what is behind a file, or a file system, is the victim's. The entries
 * of /proc have a lock, see undo/proc.c.
 */
bool fr_files_is_proc(const struct module *victim, const struct compat_proc_dir_entry *entry);
bool fr_files_is_debugfs(struct fr_rescue *rescue, struct dentry *dentry);
bool fr_files_is_behind(struct fr_rescue *rescue, const struct file *file);

/* Calls fn for each of its types of file systems, under a lock; fails if there is no list. */
int fr_files_each_type(const struct module *victim,
		       int (*fn)(struct file_system_type *type, void *data), void *data);

/* The n-th of them that is mounted, or NULL. */
struct file_system_type *fr_files_mounted(const struct module *victim, int n);

/*
 * holders.c: tells which files, sockets, mappings and mounts lead into it, and how
 * many, or an errno.
 */
int fr_holders_tell(struct fr_rescue *rescue);

/*
 * Both: 0, or -EBUSY if there is anybody; with force only if a task runs in it, and
 * otherwise how many hold it.
 */
int fr_holders_check(struct fr_rescue *rescue, bool but_waiters);

/*
 * scan.c: the words of memory that lead into the victim, remembered until they are
 * forgotten. Without the option scan nothing is searched, and nothing found.
 */
int fr_scan(struct fr_rescue *rescue);
void fr_scan_forget(struct fr_rescue *rescue);
bool fr_scan_done(const struct fr_rescue *rescue);

/*
 * scan.c: the words that lead into any of these extents, at most so many; how many, or
 * an errno. Left out is, beside what always is, memory of ours.
 */
struct fr_extents;

long fr_scan_for(struct fr_rescue *rescue, const struct fr_extents *wanted, const void *ours,
		 size_t size, unsigned long **words, size_t limit);

/*
 * world.c: how many references to the victim are alive or cannot be explained, or an
 * errno if that cannot be told. cover, if not NULL, adds what is going to be undone.
 */
int fr_world_judge(struct fr_rescue *rescue, void (*cover)(struct fr_rescue *rescue,
							    struct fr_extents *covered));

/* Calls fn for each word that still does, by an address of the direct map, as above. */
int fr_scan_each(struct fr_rescue *rescue, fr_word_fn *fn, void *data);

/* proof.c: whether memory is somebody's variable, neither allocated nor the victim's. */
bool fr_proof_is_static(const struct module *victim, unsigned long address);

/* Whether anything that leads into the victim may be alive. Before it is freed. */
bool fr_proof_check(struct fr_rescue *rescue);

/* The slab object that a word lies in, or false. */
struct fr_object {
	char cache[32];
	unsigned long start, size;
};

bool fr_proof_object(const unsigned long *at, struct fr_object *object);

/* Somebody's variable that a list leads to which the object is on, or 0. */
unsigned long fr_proof_object_anchor(const struct module *victim, const struct fr_object *object);

/* What the kernel knows of every module by itself: trace events, messages, parameters. */
bool fr_proof_is_described(unsigned long value);

/*
 * owners.c: 0, or -EBUSY if references that nobody is found to hold may be the
 * kernel's own, for something of the victim's that it uses.
 */
int fr_owners_check(struct fr_rescue *rescue);

/* The variable of the victim's that an address lies in, as its symbol table tells. */
bool fr_owners_variable_at(const struct module *victim, unsigned long address,
			   unsigned long *start, unsigned long *size);

/*
 * devres.c: a device with a driver of the victim's for which devres keeps something
 * that begins with these words; with a reference; or NULL.
 */
#define FR_DEVRES_WORDS 2
struct device *fr_devres_find(const struct module *victim, const unsigned long *words,
			      size_t count);

/* Adds all that devres keeps for a device. */
void fr_devres_cover(struct device *dev, struct fr_extents *covered);

/* Whether an object lies in what devres keeps for a device. */
bool fr_devres_covers(struct device *dev, const void *object);

#endif
