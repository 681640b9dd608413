// SPDX-License-Identifier: GPL-2.0-only
/*
 * loader.c - finit_module()'s table of loads in progress
 *
 * Since 6.5 every finit_module() hangs an entry from its own stack into
 * idem_hash[], so that a second load of the same file waits for the first. A
 * task that dies in init leaves its entry in the list while the stack is freed
 * and used again: the next load that hashes to the same bucket follows that
 * pointer, holding idem_lock.
 *
 * The repair follows each list only as far as entries prove valid, and ends it
 * there. Valid: on the stack of a living task which is in finit_module(), with
 * pprev pointing back at the link it was reached by, and in the bucket its
 * cookie hashes to. To lie on a living stack alone proves nothing: the dead
 * stack is usually in use again, often by the very task that loads this module.
 *
 * A living load behind the dead one in the same bucket, of 256, is cut off as well:
 * whoever waits for that one waits until it is killed.
 *
 * What was cut cannot complete those who waited for it. Such an entry has a
 * waiter on its own completion and nobody of the same cookie behind it; its
 * task gets EBUSY.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/spinlock.h>

#include <asm/syscall.h>

#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_IDEM_BUCKETS (1 << COMPAT_IDEM_HASH_BITS)
#define FR_IDEM_TRIES 1000

static struct hlist_head *fr_idem_hash;
static spinlock_t *fr_idem_lock;

static struct compat_idempotent *fr_loader_entry(struct hlist_node *node)
{
	return hlist_entry(node, struct compat_idempotent, entry);
}

static bool fr_loader_on_stack(const struct compat_idempotent *entry)
{
	unsigned long addr = (unsigned long)entry;
	struct task_struct *process, *task;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		unsigned long stack = (unsigned long)READ_ONCE(task->stack);

		if (!stack || addr < stack || addr > stack + THREAD_SIZE - sizeof(*entry))
			continue;

		/* No two tasks share a stack, so this one decides. */
		found = !READ_ONCE(task->exit_state) &&
			compat_is_finit_module(syscall_get_nr(task, task_pt_regs(task)));
		goto out;
	}
out:
	rcu_read_unlock();
	return found;
}

static bool fr_loader_valid(struct compat_idempotent *entry, struct hlist_node **link,
			    unsigned int bucket)
{
	struct compat_idempotent copy;

	if (!fr_peek(&copy, entry, sizeof(copy)))
		return false;

	return copy.entry.pprev == link &&
	       hash_ptr(copy.cookie, COMPAT_IDEM_HASH_BITS) == bucket &&
	       fr_loader_on_stack(entry);
}

static bool fr_loader_cut_bucket(unsigned int bucket)
{
	struct hlist_node **link = &fr_idem_hash[bucket].first;
	struct compat_idempotent *entry;

	while (*link) {
		entry = fr_loader_entry(*link);
		if (!fr_loader_valid(entry, link, bucket)) {
			WRITE_ONCE(*link, NULL);
			return true;
		}
		link = &entry->entry.next;
	}

	return false;
}

/* Whether somebody older in the list is loading the same file. */
static bool fr_loader_has_elder(const struct compat_idempotent *entry)
{
	struct hlist_node *node;

	for (node = entry->entry.next; node; node = node->next)
		if (fr_loader_entry(node)->cookie == entry->cookie)
			return true;

	return false;
}

/*
 * One at a time, oldest first: whoever waited for the same load is an orphan as
 * soon as its elder has been woken.
 */
static unsigned int fr_loader_wake_orphans(unsigned int bucket)
{
	struct compat_idempotent *entry, *orphan;
	struct hlist_node *node;
	unsigned int woken = 0;

	do {
		orphan = NULL;
		hlist_for_each(node, &fr_idem_hash[bucket]) {
			entry = fr_loader_entry(node);
			if (swait_active(&entry->complete.wait) && !fr_loader_has_elder(entry))
				orphan = entry;
		}
		if (orphan) {
			hlist_del_init(&orphan->entry);
			orphan->ret = -EBUSY;
			complete(&orphan->complete);
			woken++;
		}
	} while (orphan);

	return woken;
}

static int fr_loader_repair_locked(void)
{
	unsigned int bucket, cut = 0, woken = 0;

	for (bucket = 0; bucket < FR_IDEM_BUCKETS; bucket++) {
		if (!fr_loader_cut_bucket(bucket))
			continue;
		cut++;
		woken += fr_loader_wake_orphans(bucket);
	}

	if (!cut)
		pr_info("loader: finit_module's table has no dead entry\n");
	else
		pr_info("loader: dead entries cut out of finit_module's table: %u\n", cut);
	if (woken)
		pr_info("loader: loads woken that waited for a dead one: %u\n", woken);

	return 0;
}

/* The first of its own that current has in the table, or NULL. */
static struct compat_idempotent *fr_loader_own(void)
{
	unsigned long stack = (unsigned long)current->stack;
	struct hlist_node **link;
	unsigned int bucket;

	for (bucket = 0; bucket < FR_IDEM_BUCKETS; bucket++) {
		link = &fr_idem_hash[bucket].first;
		while (*link && fr_loader_valid(fr_loader_entry(*link), link, bucket)) {
			if ((unsigned long)*link - stack < THREAD_SIZE)
				return fr_loader_entry(*link);
			link = &(*link)->next;
		}
	}

	return NULL;
}

/* As the kernel does it when a load ends; that of the others, too. */
static int fr_loader_leave_locked(void)
{
	struct compat_idempotent *own = fr_loader_own(), *entry;
	struct hlist_node *node, *next;
	const void *cookie;

	if (!own)
		return 0;

	cookie = own->cookie;
	hlist_for_each_safe(node, next, &fr_idem_hash[hash_ptr(cookie, COMPAT_IDEM_HASH_BITS)]) {
		entry = fr_loader_entry(node);
		if (entry->cookie != cookie)
			continue;
		hlist_del_init(&entry->entry);
		entry->ret = -EBUSY;
		complete(&entry->complete);
	}

	return 0;
}

/* Not spin_lock(): a task that died in the table has left it locked. */
static int fr_loader_locked(int (*fn)(void))
{
	int tries, ret;

	for (tries = 0; tries < FR_IDEM_TRIES; tries++) {
		if (spin_trylock(fr_idem_lock)) {
			ret = fn();
			spin_unlock(fr_idem_lock);
			return ret;
		}
		usleep_range(500, 1000);
	}

	fr_tell(FR_REFUSED, "the loader's table stays locked, as a task died in it: reboot");
	return -EBUSY;
}

/*
 * A load that is under way just now is our own, if this module comes in by
 * finit_module(): if that is not found, the table is not what we think.
 */
static int fr_loader_check_locked(void)
{
	if (!compat_is_finit_module(syscall_get_nr(current, task_pt_regs(current))) ||
	    fr_loader_own())
		return 0;

	return fr_layout_unknown("idempotent");
}

int fr_loader_resolve(void)
{
	if (!COMPAT_HAVE_IDEMPOTENT)
		return 0;

	fr_idem_hash = fr_lookup("idem_hash", FR_IDEM_BUCKETS * sizeof(*fr_idem_hash));
	fr_idem_lock = fr_lookup("idem_lock", sizeof(*fr_idem_lock));
	if (!fr_idem_hash || !fr_idem_lock)
		return -EOPNOTSUPP;

	return fr_loader_locked(fr_loader_check_locked);
}

int fr_loader_repair(void)
{
	return COMPAT_HAVE_IDEMPOTENT ? fr_loader_locked(fr_loader_repair_locked) : 0;
}

int fr_loader_leave(void)
{
	return COMPAT_HAVE_IDEMPOTENT && fr_idem_hash ? fr_loader_locked(fr_loader_leave_locked) : 0;
}
