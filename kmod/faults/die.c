// SPDX-License-Identifier: GPL-2.0-only
/*
 * die.c - the ways of getting stuck
 *
 * What the compiler could see through is read through volatile variables: it
 * would be free to drop a store to NULL as undefined.
 */
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>

#include "faults.h"

/* On x86 not canonical: a general protection fault instead of a page fault. */
#define FA_NOT_CANONICAL 0xdead000000000000UL

static volatile unsigned long fa_nowhere;

static noinline void fa_write(unsigned long addr)
{
	*(volatile int *)addr = 1;
}

void fa_die_null(void)
{
	fa_write(fa_nowhere);
}

void fa_die_bug(void)
{
	/* Conditional, or the compiler would drop what follows every caller. */
	BUG_ON(!fa_nowhere);
}

void fa_die_protection(void)
{
	fa_write(fa_nowhere + FA_NOT_CANONICAL);
}

void fa_die_jump(void)
{
	void (*nowhere)(void) = (void (*)(void))fa_nowhere;

	nowhere();
}

void fa_die_atomic(void)
{
	preempt_disable();
	fa_die_null();
	preempt_enable();
}

void fa_die_irqs_off(void)
{
	local_irq_disable();
	fa_die_null();
	local_irq_enable();
}

/* A timer dies, in an interrupt that finds this task in init. */
static enum hrtimer_restart fa_die_timer_fires(struct hrtimer *timer)
{
	fa_die_null();
	return HRTIMER_NORESTART;
}

void fa_die_interrupt(void)
{
	static struct hrtimer timer;

	compat_hrtimer_setup(&timer, fa_die_timer_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	hrtimer_start(&timer, ms_to_ktime(10), HRTIMER_MODE_REL);
	mdelay(1000);
}

/* Each level needs what is on the stack of the one above. */
static noinline unsigned long fa_die_deeper(const volatile unsigned long *above)
{
	volatile unsigned long here[16] = { *above + 1 };

	return fa_nowhere ? *above : fa_die_deeper(here) + here[0];
}

void fa_die_overflow(void)
{
	unsigned long depth = 0;

	fa_die_deeper(&depth);
}

/* Dies with the lock of the network devices. */
void fa_die_locked(void)
{
	rtnl_lock();
	fa_die_null();
	rtnl_unlock();
}

void fa_die_rcu(void)
{
	rcu_read_lock();
	fa_die_null();
	rcu_read_unlock();
}

void fa_die_leak(void)
{
	__module_get(THIS_MODULE);
}

/* As if the source had no module_exit(). */
void fa_die_no_exit(void)
{
	THIS_MODULE->exit = NULL;
}

void fa_die_sleep(void)
{
	while (!fa_released())
		msleep(50);
}

void fa_die_busy(void)
{
	while (!fa_released()) {
		cpu_relax();
		cond_resched();
	}
}
