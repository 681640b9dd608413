// SPDX-License-Identifier: GPL-2.0-only
/*
 * references.c - whether a living task is still inside the victim
 *
 * A task is, if a word on its stack lies in the victim's text: a return address,
 * most likely. If so it is read a few times more, since a running task shows
 * traces of earlier calls. The address of the victim's struct module on the
 * stack tells a loader or remover that is not in the victim's own code just now.
 * An insmod that waits for the name has seen that address too, but it sleeps
 * interruptibly, which those never do outside the victim's code.
 */
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "evidence/evidence.h"
#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

static bool fr_references_word(unsigned long word, bool waiting, const void *data)
{
	const struct module *victim = data;

	if (within_module_mem_type(word, victim, MOD_TEXT) ||
	    within_module_mem_type(word, victim, MOD_INIT_TEXT))
		return true;

	return !waiting && word == (unsigned long)victim;
}

static void fr_references_print(struct task_struct *task, const void *data)
{
	const struct fr_holder holder = { "thread", task, -1, NULL };

	fr_tell_holder(&holder, "pid %d, %s, runs in it", task_pid_nr(task), task->comm);
	fr_tasks_print_stack(task);
}

bool fr_references_is_thread(struct task_struct *task, const struct module *victim)
{
	return (task->flags & PF_KTHREAD) && !READ_ONCE(task->exit_state) &&
	       fr_victim_has(victim, kthread_func(task));
}

/* The victim's own threads are inside it, of course; they are stopped. */
static bool fr_references_skip(struct task_struct *task, const void *data)
{
	return fr_references_is_thread(task, data);
}

/* Nor does one count that goes on as soon as the dead calls are off the list. */
static bool fr_references_skip_waiters(struct task_struct *task, const void *data)
{
	return fr_references_skip(task, data) || fr_async_awaits(task);
}

/* The victim's own threads too. */
bool fr_references_inside(const struct module *victim)
{
	const struct fr_stack_query query = { fr_references_word, victim };

	return fr_tasks_stay(&query);
}

int fr_references_tell(struct fr_rescue *rescue, bool but_waiters)
{
	const struct fr_stack_query query = {
		fr_references_word, rescue->victim,
		but_waiters ? fr_references_skip_waiters : fr_references_skip,
	};

	return fr_tasks_stay(&query) ? fr_tasks_count(&query, fr_references_print) : 0;
}
