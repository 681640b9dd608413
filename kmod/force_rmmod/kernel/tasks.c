// SPDX-License-Identifier: GPL-2.0-only
/*
 * tasks.c - what living tasks have on their kernel stacks
 *
 * Of a sleeping task only the part above its stack pointer counts, below are
 * traces of earlier calls; a running one is read as a whole. Stacks may go away
 * while they are read: no reference, but reads that may fail. Whoever died does
 * not count: it has left the list, or is a zombie.
 *
 * A lock's owner says little: the task_struct of the dead is soon used again, in
 * one of three cases by a task that is alive now. But whoever really holds the
 * lock of an object, and sleeps, is about to use the object again, and has its
 * address on the stack.
 */
#include <linux/delay.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>

#include "kernel/kernel.h"

#define FR_STACK_CHUNK 32
#define FR_STACK_ROUNDS 5
#define FR_STACK_PAUSE_MS 20
#define FR_STACK_LINES 16

/* Where the part of the stack begins that is in use; 0 if there is no stack. */
static unsigned long fr_tasks_stack(struct task_struct *task, unsigned long *end)
{
	unsigned long start = (unsigned long)READ_ONCE(task->stack);
	unsigned long sp = compat_task_sp(task);

	if (!start)
		return 0;

	*end = start + THREAD_SIZE;
	if (!compat_task_on_cpu(task) && sp > start && sp < *end)
		return round_down(sp, sizeof(sp));

	return start;
}

static bool fr_tasks_match(struct task_struct *task, const struct fr_stack_query *query)
{
	bool waiting = compat_task_state(task) & TASK_INTERRUPTIBLE;
	unsigned long words[FR_STACK_CHUNK];
	unsigned long start, end;
	size_t i, count;

	start = fr_tasks_stack(task, &end);
	if (!start)
		return false;

	for (; start < end; start += count * sizeof(*words)) {
		count = min_t(size_t, FR_STACK_CHUNK, (end - start) / sizeof(*words));
		if (!fr_peek(words, (void *)start, count * sizeof(*words)))
			return false;

		for (i = 0; i < count; i++)
			if (query->match(words[i], waiting, query->data))
				return true;
	}

	return false;
}

int fr_tasks_count(const struct fr_stack_query *query,
		   void (*each)(struct task_struct *task, const void *data))
{
	struct task_struct *process, *task;
	int count = 0;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (task == current || READ_ONCE(task->exit_state))
			continue;
		if (query->skip && query->skip(task, query->data))
			continue;
		if (!fr_tasks_match(task, query))
			continue;
		if (each)
			each(task, query->data);
		count++;
	}
	rcu_read_unlock();

	return count;
}

bool fr_tasks_stay(const struct fr_stack_query *query)
{
	int round;

	for (round = 0; round < FR_STACK_ROUNDS; round++) {
		if (!fr_tasks_count(query, NULL))
			return false;
		msleep(FR_STACK_PAUSE_MS);
	}

	return true;
}

/*
 * The kernel's own functions for that are not exported before 6.11. What is
 * printed are words on the stack that are addresses of code: a call chain, with
 * perhaps a stranger in it.
 */
void fr_tasks_print_stack(struct task_struct *task)
{
	char name[KSYM_SYMBOL_LEN];
	unsigned long start, end, word;
	int lines = 0;

	start = fr_tasks_stack(task, &end);
	if (!start)
		return;

	for (; start < end && lines < FR_STACK_LINES; start += sizeof(word)) {
		if (!fr_peek(&word, (void *)start, sizeof(word)))
			return;
		/* A return address has code on both sides; that of data is no name at all. */
		sprint_symbol(name, word);
		if (!strncmp(name, "0x", 2) || strstr(name, "+0x0/") || (long)word >= 0)
			continue;
		if (virt_addr_valid((void *)word))
			continue;
		pr_err("stack: %s\n", name);
		lines++;
	}
}

struct fr_range {
	unsigned long start;
	size_t size;
};

static bool fr_tasks_in_range(unsigned long word, bool waiting, const void *data)
{
	const struct fr_range *range = data;

	return word - range->start < range->size;
}

bool fr_tasks_hold(const void *start, size_t size)
{
	const struct fr_range range = { (unsigned long)start, size };
	const struct fr_stack_query query = { fr_tasks_in_range, &range };

	return fr_tasks_stay(&query);
}

/* Whether owner is the address of a living task that has the object on its stack. */
static bool fr_tasks_is_owner(unsigned long owner, const struct fr_stack_query *query)
{
	struct task_struct *process, *task;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if ((unsigned long)task != owner || task == current ||
		    READ_ONCE(task->exit_state))
			continue;
		/* One that runs has it perhaps in a register only. */
		found = compat_task_on_cpu(task) || fr_tasks_match(task, query);
		break;
	}
	rcu_read_unlock();

	return found;
}

/* Whether a lock that we hold is ours. */
bool fr_tasks_knows_locks(void)
{
	static DEFINE_MUTEX(own);
	bool known;

	mutex_lock(&own);
	known = compat_mutex_owner(&own) == (unsigned long)current;
	mutex_unlock(&own);

	return known;
}

enum fr_lock fr_tasks_lock(const struct mutex *lock, const void *object, size_t size)
{
	const struct fr_range range = { (unsigned long)object, size };
	const struct fr_stack_query query = { fr_tasks_in_range, &range };
	unsigned long owner;
	int round;

	for (round = 0; round < FR_STACK_ROUNDS; round++) {
		owner = compat_mutex_owner(lock);
		if (!owner)
			return FR_LOCK_FREE;
		if (!fr_tasks_is_owner(owner, &query) && round)
			return owner == compat_mutex_owner(lock) ? FR_LOCK_DEAD : FR_LOCK_HELD;
		msleep(FR_STACK_PAUSE_MS);
	}

	return FR_LOCK_HELD;
}

bool fr_tasks_can_lock(struct mutex *lock, const char *name)
{
	if (!fr_try(mutex_trylock(lock))) {
		pr_err("the lock %s stays taken\n", name);
		return false;
	}

	mutex_unlock(lock);
	return true;
}
