// SPDX-License-Identifier: GPL-2.0-only
/*
 * references.c - whether a living task is still inside the victim
 *
 * A task is, if a word on its stack lies in the victim's text: a return address,
 * most likely. Of a sleeping task only the part above its stack pointer counts,
 * below are traces of earlier calls; a running one is read as a whole, and once
 * more if that gives a hit. The address of the victim's struct module on the
 * stack tells a loader or remover that is not in the victim's own code just now.
 * An insmod that waits for the name has seen that address too, but it sleeps
 * interruptibly, which those never do outside the victim's code.
 *
 * The task that died does not count: it has left the list, or is a zombie.
 * Stacks may go away while they are read: no reference, but reads that may fail.
 */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>

#include "force_rmmod.h"

#define FR_STACK_CHUNK 32
#define FR_STACK_ROUNDS 5
#define FR_STACK_PAUSE_MS 20

static bool fr_references_word(unsigned long word, const struct module *victim, bool waiting)
{
	if (within_module_mem_type(word, victim, MOD_TEXT) ||
	    within_module_mem_type(word, victim, MOD_INIT_TEXT))
		return true;

	return !waiting && word == (unsigned long)victim;
}

static bool fr_references_stack(struct task_struct *task, const struct module *victim)
{
	bool waiting = compat_task_state(task) & TASK_INTERRUPTIBLE;
	unsigned long start = (unsigned long)READ_ONCE(task->stack);
	unsigned long end = start + THREAD_SIZE;
	unsigned long words[FR_STACK_CHUNK];
	unsigned long sp = compat_task_sp(task);
	size_t i, count;

	if (!start)
		return false;

	if (!compat_task_on_cpu(task) && sp > start && sp < end)
		start = round_down(sp, sizeof(*words));

	for (; start < end; start += count * sizeof(*words)) {
		count = min_t(size_t, FR_STACK_CHUNK, (end - start) / sizeof(*words));
		if (copy_from_kernel_nofault(words, (void *)start, count * sizeof(*words)))
			return false;

		for (i = 0; i < count; i++)
			if (fr_references_word(words[i], victim, waiting))
				return true;
	}

	return false;
}

static int fr_references_count(const struct module *victim, bool print)
{
	struct task_struct *process, *task;
	int count = 0;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (task == current || READ_ONCE(task->exit_state))
			continue;
		if (!fr_references_stack(task, victim))
			continue;
		if (print)
			pr_err("refused: task %s, pid %d, is inside %s\n",
			       task->comm, task_pid_nr(task), victim->name);
		count++;
	}
	rcu_read_unlock();

	return count;
}

int fr_references_check(const struct module *victim)
{
	int round;

	for (round = 0; round < FR_STACK_ROUNDS; round++) {
		if (!fr_references_count(victim, false))
			return 0;
		msleep(FR_STACK_PAUSE_MS);
	}

	return fr_references_count(victim, true) ? -EBUSY : 0;
}
