// SPDX-License-Identifier: GPL-2.0-only
/*
 * undo_timer.c - timers, high-resolution timers and work in the victim's memory
 *
 * A function pointer of the victim is taken for one of a timer (or a work item)
 * if what stands around it is one that the kernel has queued: its neighbour in
 * the queue points back at it. Those that the victim allocated are not found.
 */
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "force_rmmod.h"

/* More clocks than any version has. */
#define FR_CLOCKS 16

/* The object that has its function at word, if all of it lies in the victim. */
#define fr_timer_around(victim, word, type, member) ({ \
	type *object_ = (type *)((char *)(word) - offsetof(type, member)); \
	fr_victim_has(victim, object_) && \
	fr_victim_has(victim, (char *)(object_ + 1) - 1) ? object_ : NULL; \
})

static bool fr_timer_is_code(const struct module *victim, unsigned long word)
{
	return within_module_mem_type(word, victim, MOD_TEXT) ||
	       within_module_mem_type(word, victim, MOD_INIT_TEXT);
}

/* ---- timer_list ---- */

static bool fr_timer_is_queued(const struct timer_list *timer)
{
	struct hlist_node *back;

	return timer->entry.pprev &&
	       !copy_from_kernel_nofault(&back, timer->entry.pprev, sizeof(back)) &&
	       back == &timer->entry;
}

static int fr_timer_word(struct module *victim, unsigned long *word, void *data)
{
	struct timer_list *timer;

	if (!fr_timer_is_code(victim, *word))
		return 0;

	timer = fr_timer_around(victim, word, struct timer_list, function);
	if (!timer || !fr_timer_is_queued(timer))
		return 0;

	return fr_found(data, timer, 0, "%ps, calls %ps", timer, (void *)*word);
}

static int fr_timer_find(struct module *victim, struct fr_finds *finds)
{
	return fr_victim_each_word(victim, fr_timer_word, finds);
}

static int fr_timer_undo(struct module *victim, void *object)
{
	timer_delete_sync(object);
	return 0;
}

const struct fr_kind fr_kind_timer = {
	.name = "timer",
	.stage = FR_ACTIVE,
	.find = fr_timer_find,
	.undo = fr_timer_undo,
};

/* ---- hrtimer ---- */

/* A clock belongs to a processor, in whose structure it stands, in an array. */
static bool fr_hrtimer_is_queued(struct hrtimer *timer)
{
	struct compat_hrtimer_clock_base base;

	if (!hrtimer_is_queued(timer) ||
	    copy_from_kernel_nofault(&base, timer->base, sizeof(base)))
		return false;

	return (unsigned long)timer->base - (unsigned long)base.cpu_base < PAGE_SIZE &&
	       base.index < FR_CLOCKS;
}

static int fr_hrtimer_word(struct module *victim, unsigned long *word, void *data)
{
	struct hrtimer *timer;

	if (!fr_timer_is_code(victim, *word))
		return 0;

	timer = fr_timer_around(victim, word, struct hrtimer, function);
	if (!timer || !fr_hrtimer_is_queued(timer))
		return 0;

	return fr_found(data, timer, 0, "%ps, calls %ps", timer, (void *)*word);
}

static int fr_hrtimer_find(struct module *victim, struct fr_finds *finds)
{
	return fr_victim_each_word(victim, fr_hrtimer_word, finds);
}

static int fr_hrtimer_undo(struct module *victim, void *object)
{
	hrtimer_cancel(object);
	return 0;
}

const struct fr_kind fr_kind_hrtimer = {
	.name = "high-resolution timer",
	.stage = FR_ACTIVE,
	.find = fr_hrtimer_find,
	.undo = fr_hrtimer_undo,
};

/* ---- work, delayed or not ---- */

static bool fr_work_is_delayed(const struct module *victim, struct work_struct *work)
{
	struct delayed_work *delayed = to_delayed_work(work);

	return fr_victim_has(victim, (char *)(delayed + 1) - 1) &&
	       delayed->timer.function == delayed_work_timer_fn;
}

static bool fr_work_is_queued(const struct module *victim, struct work_struct *work)
{
	struct list_head *back;

	if (!work_pending(work))
		return false;
	if (fr_work_is_delayed(victim, work) && fr_timer_is_queued(&to_delayed_work(work)->timer))
		return true;

	return !copy_from_kernel_nofault(&back, &work->entry.next->prev, sizeof(back)) &&
	       back == &work->entry && !list_empty(&work->entry);
}

static int fr_work_word(struct module *victim, unsigned long *word, void *data)
{
	struct work_struct *work;

	if (!fr_timer_is_code(victim, *word))
		return 0;

	work = fr_timer_around(victim, word, struct work_struct, func);
	if (!work || !fr_work_is_queued(victim, work))
		return 0;

	return fr_found(data, work, 0, "%ps, calls %ps", work, (void *)*word);
}

static int fr_work_find(struct module *victim, struct fr_finds *finds)
{
	return fr_victim_each_word(victim, fr_work_word, finds);
}

static int fr_work_undo(struct module *victim, void *object)
{
	if (fr_work_is_delayed(victim, object))
		cancel_delayed_work_sync(to_delayed_work(object));
	else
		cancel_work_sync(object);

	return 0;
}

const struct fr_kind fr_kind_work = {
	.name = "work",
	.stage = FR_ACTIVE,
	.find = fr_work_find,
	.undo = fr_work_undo,
};

/* ---- workqueues ---- */

/* One of the kernel's own workqueues has a name that is known. */
static bool fr_workqueue_is_known(void)
{
	const struct compat_workqueue *queue = (void *)system_highpri_wq;

	return fr_layout_is_string(queue->name, "events_highpri") &&
	       fr_layout_is_listed(&queue->list);
}

/* Names are copied, so a string of the victim in one tells whose it is. */
static int fr_workqueue_find(struct module *victim, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup("workqueues", sizeof(*list));
	struct mutex *lock = fr_lookup("wq_pool_mutex", sizeof(*lock));
	struct compat_workqueue *queue;
	unsigned long *word;
	u64 order = 0;
	int ret = 0;

	if (!list || !lock)
		return -EOPNOTSUPP;
	if (!fr_workqueue_is_known())
		return fr_layout_unknown("workqueue_struct");
	if (!fr_tasks_can_lock(lock, "wq_pool_mutex"))
		return -EBUSY;

	mutex_lock(lock);
	list_for_each_entry(queue, list, list) {
		order++;
		word = fr_victim_holder(victim, (unsigned long)queue);
		if (!word || !fr_victim_has_string(victim, queue->name))
			continue;
		ret = fr_found(finds, queue, order, "%s, held by %ps", queue->name, word);
		if (ret)
			break;
	}
	mutex_unlock(lock);

	return ret;
}

static int fr_workqueue_undo(struct module *victim, void *object)
{
	destroy_workqueue(object);
	return 0;
}

const struct fr_kind fr_kind_workqueue = {
	.name = "workqueue",
	.stage = FR_STORE,
	.find = fr_workqueue_find,
	.undo = fr_workqueue_undo,
};
