// SPDX-License-Identifier: GPL-2.0-only
/*
 * thread.c - kernel threads that run a function of the victim
 *
 * kthread_stop() waits for the thread, without end and without being killable,
 * if the thread never asks whether it should stop. So it is called by a thread
 * of its own, which has kthread_stop() itself for its function: it can outlive
 * this module. The victim stays if its thread does not end within a while.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "undo/undo.h"

#define FR_THREAD_WAIT_MS 5000

static int fr_thread_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct task_struct *process, *task;
	int ret = 0;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (ret || !fr_references_is_thread(task, rescue->victim))
			continue;
		ret = fr_found(finds, task, 0, "%s, pid %d, runs %ps", task->comm,
			       task_pid_nr(task), kthread_func(task));
		if (!ret)
			get_task_struct(task);
	}
	rcu_read_unlock();

	return ret;
}

/* Whether a task ends before its time is over. */
static bool fr_thread_ends(struct task_struct *task, unsigned long end)
{
	while (!READ_ONCE(task->exit_state) && time_before(jiffies, end))
		msleep(20);

	return READ_ONCE(task->exit_state);
}

static int fr_thread_undo(struct fr_rescue *rescue, void *object)
{
	struct task_struct *thread = object, *stopper;
	unsigned long end = jiffies + msecs_to_jiffies(FR_THREAD_WAIT_MS);
	bool ended;

	stopper = compat_kthread_stopper(thread);
	if (IS_ERR(stopper))
		return PTR_ERR(stopper);

	/* The stopper uses the thread until it ends itself; if that is never, for ever. */
	get_task_struct(thread);
	get_task_struct(stopper);
	wake_up_process(stopper);
	ended = fr_thread_ends(thread, end);
	if (fr_thread_ends(stopper, end))
		put_task_struct(thread);
	put_task_struct(stopper);

	return ended ? 0 : -ETIMEDOUT;
}

static void fr_thread_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	fr_extents_add_object(covered, compat_kthread_private(object));
}

static void fr_thread_put(void *object)
{
	put_task_struct(object);
}

const struct fr_kind fr_kind_thread = {
	.name = "kernel thread",
	.stage = FR_ACTIVE,
	.frees = true,
	.find = fr_thread_find,
	.undo = fr_thread_undo,
	.cover = fr_thread_cover,
	.put = fr_thread_put,
};
