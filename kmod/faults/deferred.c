// SPDX-License-Identifier: GPL-2.0-only
/* deferred.c - things that call into the module by themselves, later */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "faults.h"

/* Late enough for a test, soon enough for a crash if nobody cancels them. */
#define FA_DELAY (10 * HZ)

static struct timer_list fa_timer;

static void fa_timer_fires(struct timer_list *timer)
{
	mod_timer(timer, jiffies + FA_DELAY);
}

int fa_timer_start(void)
{
	timer_setup(&fa_timer, fa_timer_fires, 0);
	mod_timer(&fa_timer, jiffies + FA_DELAY);
	return 0;
}

void fa_timer_stop(void)
{
	timer_delete_sync(&fa_timer);
}

/* One that is not in the module's own memory. */
static struct timer_list *fa_timer_memory;

int fa_timer_allocated_start(void)
{
	fa_timer_memory = kzalloc(sizeof(*fa_timer_memory), GFP_KERNEL);
	if (!fa_timer_memory)
		return -ENOMEM;

	timer_setup(fa_timer_memory, fa_timer_fires, 0);
	mod_timer(fa_timer_memory, jiffies + FA_DELAY);
	return 0;
}

void fa_timer_allocated_stop(void)
{
	timer_delete_sync(fa_timer_memory);
	kfree(fa_timer_memory);
}

static struct hrtimer fa_hrtimer;

static enum hrtimer_restart fa_hrtimer_fires(struct hrtimer *timer)
{
	hrtimer_forward_now(timer, ktime_set(10, 0));
	return HRTIMER_RESTART;
}

int fa_hrtimer_start(void)
{
	compat_hrtimer_setup(&fa_hrtimer, fa_hrtimer_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	hrtimer_start(&fa_hrtimer, ktime_set(10, 0), HRTIMER_MODE_REL);
	return 0;
}

void fa_hrtimer_stop(void)
{
	hrtimer_cancel(&fa_hrtimer);
}

static struct workqueue_struct *fa_queue;

static void fa_work_runs(struct work_struct *work)
{
	queue_delayed_work(fa_queue, to_delayed_work(work), FA_DELAY);
}

static DECLARE_DELAYED_WORK(fa_work, fa_work_runs);

int fa_work_start(void)
{
	fa_queue = alloc_workqueue("faults_queue", WQ_UNBOUND, 0);
	if (!fa_queue)
		return -ENOMEM;

	queue_delayed_work(fa_queue, &fa_work, FA_DELAY);
	return 0;
}

void fa_work_stop(void)
{
	cancel_delayed_work_sync(&fa_work);
	destroy_workqueue(fa_queue);
}

static void fa_work_again(struct work_struct *work)
{
	schedule_delayed_work(to_delayed_work(work), FA_DELAY);
}

static struct delayed_work *fa_work_memory;

int fa_work_allocated_start(void)
{
	fa_work_memory = kzalloc(sizeof(*fa_work_memory), GFP_KERNEL);
	if (!fa_work_memory)
		return -ENOMEM;

	INIT_DELAYED_WORK(fa_work_memory, fa_work_again);
	schedule_delayed_work(fa_work_memory, FA_DELAY);
	return 0;
}

void fa_work_allocated_stop(void)
{
	cancel_delayed_work_sync(fa_work_memory);
	kfree(fa_work_memory);
}

static struct task_struct *fa_thread;

static int fa_thread_runs(void *data)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);

	return 0;
}

int fa_thread_start(void)
{
	fa_thread = kthread_run(fa_thread_runs, NULL, "faults_thread");
	return PTR_ERR_OR_ZERO(fa_thread);
}

void fa_thread_stop(void)
{
	kthread_stop(fa_thread);
}

/* Does not end when it should, but when it is released. */
static int fa_stubborn_runs(void *data)
{
	while (!fa_released())
		msleep(50);

	return fa_thread_runs(data);
}

int fa_stubborn_start(void)
{
	fa_thread = kthread_run(fa_stubborn_runs, NULL, "faults_stubborn");
	return PTR_ERR_OR_ZERO(fa_thread);
}

static irqreturn_t fa_irq_handler(int irq, void *data)
{
	return IRQ_NONE;
}

int fa_irq_start(void)
{
	return request_irq(FA_IRQ, fa_irq_handler, 0, "faults_irq", &fa_timer);
}

void fa_irq_stop(void)
{
	free_irq(FA_IRQ, &fa_timer);
}
