// SPDX-License-Identifier: GPL-2.0-only
/*
 * async.c - asynchronous calls whose worker died in them
 *
 * Every asynchronous call in progress hangs in async_global_pending. One whose
 * worker died, for instance in a driver's probe, stays there for ever, and with
 * it waits every rmmod and every insmod that asks for all of them to be done.
 *
 * An entry is dead if it is neither queued nor being run: no longer pending, and
 * not what any of the kernel's workers is at. It is the victim's if what it was
 * called for is a device that is half bound to a driver of the victim.
 */
#include <linux/async.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "force_rmmod.h"

#define FR_ASYNC_WAIT_MS 5000

static struct list_head *fr_async_pending;
static spinlock_t *fr_async_lock;
static atomic_t *fr_async_count;
static wait_queue_head_t *fr_async_done;

static bool fr_async_resolve(void)
{
	fr_async_pending = fr_lookup("async_global_pending", sizeof(*fr_async_pending));
	fr_async_lock = fr_lookup("async_lock", sizeof(*fr_async_lock));
	fr_async_count = fr_lookup("entry_count", sizeof(*fr_async_count));
	fr_async_done = fr_lookup("async_done", sizeof(*fr_async_done));

	return fr_async_pending && fr_async_lock && fr_async_count && fr_async_done;
}

static bool fr_async_is_worker(const struct compat_worker *worker, const struct task_struct *task)
{
	const void *const *words = (const void *const *)worker;
	size_t i;

	for (i = 0; i < COMPAT_WORKER_WORDS; i++)
		if (fr_layout_is_word(words + i, task))
			return true;

	return false;
}

/* What every worker is at, entry's work or nothing; -EOPNOTSUPP if none is a worker. */
static int fr_async_is_run(const struct compat_async_entry *entry)
{
	struct task_struct *process, *task;
	struct compat_worker *worker;
	bool known = false, found = false;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (!(task->flags & PF_WQ_WORKER) || READ_ONCE(task->exit_state))
			continue;
		worker = kthread_data(task);
		if (!fr_async_is_worker(worker, task))
			continue;
		known = true;
		found |= fr_layout_is_word(&worker->current_work, &entry->work);
	}
	rcu_read_unlock();

	return known ? found : -EOPNOTSUPP;
}

/* What the driver core calls asynchronously it calls with a device. */
static bool fr_async_is_of(const struct compat_async_entry *entry, struct module *victim)
{
	struct device dev;

	if (copy_from_kernel_nofault(&dev, entry->data, sizeof(dev)))
		return false;

	return dev.kobj.kset == platform_bus.kobj.kset && fr_victim_has(victim, dev.driver);
}

/* 1 if it is, 0 if not, an errno if that cannot be told. */
static int fr_async_is_dead(const struct compat_async_entry *entry, struct module *victim)
{
	int run;

	if (!fr_layout_is_listed(&entry->domain_list))
		return fr_layout_unknown("async_entry");
	if (work_pending(&entry->work) || !fr_async_is_of(entry, victim))
		return 0;

	run = fr_async_is_run(entry);
	return run < 0 ? fr_layout_unknown("worker") : !run;
}

/*
 * Its memory is not given back: the pool of the dead worker still holds the worker
 * to be at this work, and would let another at the same address wait for it.
 */
static void fr_async_unlink(struct compat_async_entry *entry)
{
	pr_info("undo: asynchronous call for device %s, whose worker died\n",
		dev_name(entry->data));
	list_del_init(&entry->domain_list);
	list_del_init(&entry->global_list);
	atomic_dec(fr_async_count);
}

static int fr_async_walk(struct module *victim, bool apply)
{
	struct compat_async_entry *entry, *next;
	unsigned long flags;
	int count = 0, dead = 0;

	spin_lock_irqsave(fr_async_lock, flags);
	list_for_each_entry_safe(entry, next, fr_async_pending, global_list) {
		dead = fr_async_is_dead(entry, victim);
		if (dead < 0)
			break;
		count += dead;
		if (apply && dead)
			fr_async_unlink(entry);
	}
	spin_unlock_irqrestore(fr_async_lock, flags);

	if (apply && count)
		wake_up_all(fr_async_done);

	return dead < 0 ? dead : count;
}

bool fr_async_awaits(const struct task_struct *task)
{
	const struct wait_queue_entry *waiter;
	unsigned long flags;
	bool found = false;

	spin_lock_irqsave(&fr_async_done->lock, flags);
	list_for_each_entry(waiter, &fr_async_done->head, entry)
		found |= waiter->private == task;
	spin_unlock_irqrestore(&fr_async_done->lock, flags);

	return found;
}

/* The insmod that waited for the call finishes now; the victim becomes live. */
static void fr_async_wait(struct module *victim)
{
	unsigned long end = jiffies + msecs_to_jiffies(FR_ASYNC_WAIT_MS);

	while (module_refcount(victim) > 0 && time_before(jiffies, end))
		msleep(20);
}

int fr_async_repair(struct module *victim, bool apply)
{
	int count;

	if (!fr_async_resolve())
		return -EOPNOTSUPP;

	count = fr_async_walk(victim, apply);
	if (apply && count > 0)
		fr_async_wait(victim);

	return count;
}
