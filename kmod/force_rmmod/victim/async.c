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
#include <linux/completion.h>
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
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_ASYNC_WAIT_MS 5000
#define FR_ASYNC_LOOK_MS 5000

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

static bool fr_async_is_at(const struct task_struct *task, const struct work_struct *work)
{
	const struct compat_worker *worker = kthread_data((struct task_struct *)task);

	return fr_async_is_worker(worker, task) && fr_layout_is_word(&worker->current_work, work);
}

struct fr_async_look {
	struct work_struct work;
	struct completion done;
	bool known;
};

static void fr_async_look(struct work_struct *work)
{
	struct fr_async_look *look = container_of(work, struct fr_async_look, work);

	look->known = fr_async_is_at(current, work);
	complete(&look->done);
}

/* Whether a worker that is at a work of ours is seen to be at it. */
static bool fr_async_knows_workers(void)
{
	struct workqueue_struct *queue = alloc_workqueue("force_rmmod", WQ_UNBOUND, 1);
	struct fr_async_look look = { .known = false };

	if (!queue)
		return false;

	INIT_WORK_ONSTACK(&look.work, fr_async_look);
	init_completion(&look.done);
	queue_work(queue, &look.work);
	wait_for_completion_timeout(&look.done, msecs_to_jiffies(FR_ASYNC_LOOK_MS));
	cancel_work_sync(&look.work);
	destroy_work_on_stack(&look.work);
	destroy_workqueue(queue);

	return look.known;
}

/* Whether any of the kernel's workers is at it. */
static bool fr_async_is_run(const struct compat_async_entry *entry)
{
	struct task_struct *process, *task;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if ((task->flags & PF_WQ_WORKER) && !READ_ONCE(task->exit_state))
			found |= fr_async_is_at(task, &entry->work);
	}
	rcu_read_unlock();

	return found;
}

/* The driver whose probe it calls: what the driver core calls so it calls with a device. */
static bool fr_async_driver(const struct compat_async_entry *entry, struct device_driver *driver,
			    const void **address)
{
	struct device dev;

	if (!fr_peek(&dev, entry->data, sizeof(dev)) || dev.kobj.kset != platform_bus.kobj.kset)
		return false;

	*address = dev.driver;
	return fr_peek(driver, dev.driver, sizeof(*driver));
}

static bool fr_async_is_dead(const struct compat_async_entry *entry)
{
	return !work_pending(&entry->work) && !fr_async_is_run(entry);
}

/*
 * Its memory is not given back: the pool of the dead worker still holds the worker
 * to be at this work, and would let another at the same address wait for it.
 */
static void fr_async_unlink(struct compat_async_entry *entry)
{
	fr_tell(FR_UNDO, "asynchronous call for device %s, whose worker died",
		dev_name(entry->data));
	list_del_init(&entry->domain_list);
	list_del_init(&entry->global_list);
	atomic_dec(fr_async_count);
}

struct fr_async_calls {
	int entries, dead;	/* dead: those of the victim */
	struct module *other;	/* that has a dead one as well */
};

static int fr_async_walk(struct module *victim, bool apply, struct fr_async_calls *calls)
{
	struct compat_async_entry *entry, *next;
	struct device_driver driver;
	const void *address;

	list_for_each_entry_safe(entry, next, fr_async_pending, global_list) {
		calls->entries++;
		if (!fr_layout_is_listed(&entry->domain_list))
			return fr_layout_unknown("async_entry");
		if (!fr_async_driver(entry, &driver, &address) || !fr_async_is_dead(entry))
			continue;
		if (!fr_victim_has(victim, address)) {
			calls->other = driver.owner;
			continue;
		}
		calls->dead++;
		if (apply)
			fr_async_unlink(entry);
	}

	/* binfmt_misc has a variable of that name too. */
	if (!apply && calls->dead && atomic_read(fr_async_count) < calls->entries)
		return fr_layout_unknown("async_entry, or what counts them,");

	return 0;
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

int fr_async_repair(struct fr_rescue *rescue, bool apply)
{
	struct fr_async_calls calls = { 0 };
	unsigned long flags;
	int ret;

	if (!fr_async_resolve())
		return -EOPNOTSUPP;

	spin_lock_irqsave(fr_async_lock, flags);
	ret = fr_async_walk(rescue->victim, apply, &calls);
	spin_unlock_irqrestore(fr_async_lock, flags);
	if (ret)
		return ret;

	if (apply && calls.dead) {
		wake_up_all(fr_async_done);
		fr_async_wait(rescue->victim);
	}
	if (!apply && (calls.dead || calls.other) && !fr_async_knows_workers())
		return fr_layout_unknown("worker");
	/* Ours too, and then no other rescue could come. */
	if (calls.other) {
		fr_tell(FR_REFUSED, "every rmmod waits for a dead asynchronous call of %s: rescue it first",
		       calls.other->name);
		return -EBUSY;
	}

	return calls.dead;
}
