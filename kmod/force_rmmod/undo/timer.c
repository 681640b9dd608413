// SPDX-License-Identifier: GPL-2.0-only
/*
 * timer.c - timers, high-resolution timers and work
 *
 * A function pointer of the victim is taken for one of a timer (or a work item)
 * if what stands around it is one that the kernel has queued: its neighbour in
 * the queue points back at it, and the queue itself is the kernel's: anything may look
 * like one. Those that the victim allocated are found by the scan of memory only.
 */
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rbtree.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "evidence/evidence.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* More clocks than any version has. */
#define FR_CLOCKS 16

/* How far into a clock the root of its tree is at most, and how deep the tree. */
#define FR_CLOCK_WORDS 16
#define FR_TREE_DEPTH 64

/* More timers than one queue ever has, and more than the variables of a processor take. */
#define FR_TIMERS 10000
#define FR_CPU_SIZE 0x200000L

/* Of the victim's code, as a queued object has it. */
static bool fr_timer_is_code(const struct module *victim, const unsigned long *word)
{
	return within_module_mem_type(*word, victim, MOD_TEXT) ||
	       within_module_mem_type(*word, victim, MOD_INIT_TEXT);
}

/*
 * Copies the object that has its function at word; one that begins or ends outside
 * the victim is none of the victim's data. Returns it, or NULL.
 */
static void *fr_timer_copy(const struct module *victim, const unsigned long *word, size_t offset,
			   void *copy, size_t size)
{
	char *object = (char *)word - offset;

	if (fr_victim_has(victim, word) &&
	    !(fr_victim_has(victim, object) && fr_victim_has(victim, object + size - 1)))
		return NULL;

	return fr_peek(copy, object, size) ? object : NULL;
}

#define fr_timer_around(victim, word, copy, member) \
	fr_timer_copy(victim, word, offsetof(typeof(*(copy)), member), copy, sizeof(*(copy)))

static int fr_timer_found(const struct module *victim, struct fr_finds *finds, void *object,
			  unsigned long function)
{
	if (!fr_victim_has(victim, object))
		return fr_found(finds, object, 0, "allocated, calls %ps", (void *)function);

	return fr_found(finds, object, 0, "%ps, calls %ps", object, (void *)function);
}

static int fr_timer_each_word(struct fr_rescue *rescue, struct fr_finds *finds,
			      int (*fn)(struct fr_rescue *rescue, unsigned long *word, void *data))
{
	int ret = fr_words_each(rescue, fn, finds);

	return ret ? ret : fr_scan_each(rescue, fn, finds);
}

/* ---- timer_list ---- */

/* Of each processor, one byte among its variables, where the heads of its queues are. */
static DEFINE_PER_CPU(char, fr_timer_near);

/*
 * From one queued timer to the one before, up to the head, which lies with the
 * variables of the processor that the timer names.
 */
static bool fr_timer_is_queued(const struct timer_list *copy, const struct timer_list *timer)
{
	unsigned int cpu = copy->flags & TIMER_CPUMASK;
	struct hlist_node *const *link = (struct hlist_node *const *)copy->entry.pprev;
	const struct hlist_node *node = &timer->entry, *next;
	int steps;

	if (cpu >= nr_cpu_ids || copy->flags & TIMER_MIGRATING)
		return false;

	for (steps = 0; steps < FR_TIMERS; steps++) {
		if (!fr_peek(&next, link, sizeof(next)) || next != node)
			return false;
		if (abs((long)link - (long)per_cpu_ptr(&fr_timer_near, cpu)) < FR_CPU_SIZE)
			return true;
		node = container_of(link, struct hlist_node, next);
		if (!fr_peek(&link, &node->pprev, sizeof(link)))
			return false;
	}

	return false;
}

static int fr_timer_word(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	struct timer_list *timer, copy;

	if (!fr_timer_is_code(rescue->victim, word))
		return 0;

	timer = fr_timer_around(rescue->victim, word, &copy, function);
	if (!timer || !fr_timer_is_queued(&copy, timer))
		return 0;

	return fr_timer_found(rescue->victim, data, timer, *word);
}

static int fr_timer_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	return fr_timer_each_word(rescue, finds, fr_timer_word);
}

static int fr_timer_undo(struct fr_rescue *rescue, void *object)
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

/* Whether an address lies with the variables of one of the processors. */
static bool fr_timer_is_near(unsigned long address)
{
	int cpu;

	for_each_possible_cpu(cpu)
		if (abs((long)address - (long)per_cpu_ptr(&fr_timer_near, cpu)) < FR_CPU_SIZE)
			return true;

	return false;
}

/* The root of the tree that a node is in, as far as each parent knows its child; or NULL. */
static const struct rb_node *fr_hrtimer_root(const struct rb_node *node)
{
	const struct rb_node *parent;
	struct rb_node copy;
	int steps;

	for (steps = 0; steps < FR_TREE_DEPTH; steps++, node = parent) {
		if (!fr_peek(&copy, node, sizeof(copy)))
			return NULL;
		parent = rb_parent(&copy);
		if (!parent)
			return node;
		if (!fr_peek(&copy, parent, sizeof(copy)) ||
		    (copy.rb_left != node && copy.rb_right != node))
			return NULL;
	}

	return NULL;
}

/*
 * A clock belongs to a processor, in whose structure it stands, in an array; and its
 * tree has the timer.
 */
static bool fr_hrtimer_is_queued(struct hrtimer *copy, const struct hrtimer *timer)
{
	struct compat_hrtimer_clock_base base;
	const struct rb_node *root;
	size_t i;

	if (!hrtimer_is_queued(copy) || !fr_timer_is_near((unsigned long)copy->base) ||
	    !fr_peek(&base, copy->base, sizeof(base)) ||
	    (unsigned long)copy->base - (unsigned long)base.cpu_base >= PAGE_SIZE ||
	    base.index >= FR_CLOCKS)
		return false;

	root = fr_hrtimer_root((const struct rb_node *)&timer->node);
	for (i = 0; root && i < FR_CLOCK_WORDS; i++)
		if (fr_layout_is_word((void **)copy->base + i, root))
			return true;

	return false;
}

static int fr_hrtimer_word(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	struct hrtimer *timer, copy;

	if (!fr_timer_is_code(rescue->victim, word))
		return 0;

	timer = fr_timer_around(rescue->victim, word, &copy, function);
	if (!timer || !fr_hrtimer_is_queued(&copy, timer))
		return 0;

	return fr_timer_found(rescue->victim, data, timer, *word);
}

static int fr_hrtimer_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	return fr_timer_each_word(rescue, finds, fr_hrtimer_word);
}

static int fr_hrtimer_undo(struct fr_rescue *rescue, void *object)
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

/* Whether it is delayed, and waits for its time; if so, copies all of it. */
static bool fr_work_is_delayed(struct work_struct *work, struct delayed_work *copy)
{
	struct delayed_work *delayed = to_delayed_work(work);

	return fr_peek(copy, delayed, sizeof(*copy)) &&
	       copy->timer.function == delayed_work_timer_fn;
}

static bool fr_work_is_queued(struct work_struct *copy, struct work_struct *work)
{
	struct delayed_work delayed;
	struct list_head *back;

	if (!work_pending(copy))
		return false;
	if (fr_work_is_delayed(work, &delayed) &&
	    fr_timer_is_queued(&delayed.timer, &to_delayed_work(work)->timer))
		return true;

	return copy->entry.next != &work->entry &&
	       fr_peek(&back, &copy->entry.next->prev, sizeof(back)) &&
	       back == &work->entry;
}

/* Whether what it says to be queued on is one of the kernel's queues. */
static bool fr_work_has_queue(const struct work_struct *copy)
{
	struct list_head *list = fr_lookup("workqueues", sizeof(*list));
	struct mutex *lock = fr_lookup("wq_pool_mutex", sizeof(*lock));
	unsigned long data = atomic_long_read(&copy->data);
	struct compat_workqueue *queue;
	void *pair[2];	/* a pool, and a queue whose part for that pool this is */
	bool found = false;

	if (!list || !lock || !(data & WORK_STRUCT_PWQ) ||
	    !fr_peek(pair, (void *)(data & WORK_STRUCT_PWQ_MASK), sizeof(pair)) ||
	    !fr_tasks_can_lock(lock, "wq_pool_mutex"))
		return false;

	mutex_lock(lock);
	list_for_each_entry(queue, list, list)
		found |= queue == pair[1];
	mutex_unlock(lock);

	return found;
}

static bool fr_work_is_certain(struct work_struct *copy, struct work_struct *work)
{
	struct timer_list *timer = &to_delayed_work(work)->timer;
	struct delayed_work delayed;

	return (fr_work_is_delayed(work, &delayed) && fr_timer_is_queued(&delayed.timer, timer)) ||
	       fr_work_has_queue(copy);
}

static int fr_work_word(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	struct work_struct *work, copy;

	if (!fr_timer_is_code(rescue->victim, word))
		return 0;

	work = fr_timer_around(rescue->victim, word, &copy, func);
	if (!work || !fr_work_is_queued(&copy, work))
		return 0;
	if (!fr_work_is_certain(&copy, work))
		return 0;

	return fr_timer_found(rescue->victim, data, work, *word);
}

static int fr_work_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	return fr_timer_each_word(rescue, finds, fr_work_word);
}

static int fr_work_undo(struct fr_rescue *rescue, void *object)
{
	struct delayed_work delayed;

	if (fr_work_is_delayed(object, &delayed))
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

/*
 * Names are copied, so a string of the victim in one tells whose it is. But a victim that
 * only uses the kernel's own, system_wq and the like, may have a string "events" too:
 * they are all called something like that, and are the first that were made.
 */
static int fr_workqueue_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup("workqueues", sizeof(*list));
	struct mutex *lock = fr_lookup("wq_pool_mutex", sizeof(*lock));
	struct compat_workqueue *queue;
	unsigned long *word;
	bool system = true;
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
		system = system && strstarts(queue->name, "events");
		if (system)
			continue;
		word = fr_words_find(rescue, (unsigned long)queue);
		if (!word || !fr_victim_has_string(rescue->victim, queue->name))
			continue;
		ret = fr_found(finds, queue, order, "%s, kept in %ps", queue->name, word);
		if (ret)
			break;
	}
	mutex_unlock(lock);

	return ret;
}

static int fr_workqueue_undo(struct fr_rescue *rescue, void *object)
{
	destroy_workqueue(object);
	return 0;
}

const struct fr_kind fr_kind_workqueue = {
	.name = "workqueue",
	.stage = FR_STORE,
	.frees = true,
	.find = fr_workqueue_find,
	.undo = fr_workqueue_undo,
};
