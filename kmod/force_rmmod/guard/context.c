// SPDX-License-Identifier: GPL-2.0-only
/*
 * context.c - what a call that died leaves of its task's own
 *
 * Preemption or interrupts that are off, sections that nobody ends any more,
 * lists that lead to the dead part of the stack, and a signal: on x86 an oops
 * from a trap such as BUG() also sends one, which the loader's error is to
 * replace. Whatever a spinlock guards stays locked: that can only be told.
 * Nothing in this file is traced, see Kbuild.
 */
#include <linux/interrupt.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/thread_info.h>

#include "guard/guard.h"

#define FR_CONTEXT_FLAGS (PF_MEMALLOC | PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO)
#define FR_CONTEXT_SIGNALS \
	(sigmask(SIGILL) | sigmask(SIGTRAP) | sigmask(SIGBUS) | sigmask(SIGFPE) | sigmask(SIGSEGV))
#define FR_CONTEXT_INTERRUPT (NMI_MASK | HARDIRQ_MASK | SOFTIRQ_OFFSET)

static unsigned long fr_context_signals(void)
{
	return READ_ONCE(current->pending.signal.sig[0]) & FR_CONTEXT_SIGNALS;
}

void fr_context_save(struct fr_context *context)
{
	context->preempt = preempt_count();
	context->irqs_off = irqs_disabled();
	context->rcu = rcu_preempt_depth();
	context->pagefaults = current->pagefault_disabled;
	context->migration = compat_migration_disabled();
	compat_return_hooks_save(&context->hooks);
	context->plug = current->plug;
	context->bios = current->bio_list;
	context->reclaim = current->reclaim_state;
	context->journal = current->journal_info;
	context->flags = current->flags & FR_CONTEXT_FLAGS;
	context->signals = fr_context_signals();
}

bool fr_context_is_same(const struct fr_context *context)
{
	return !((preempt_count() ^ context->preempt) & FR_CONTEXT_INTERRUPT);
}

/* One that is not made by ftrace is a breakpoint, which counts as an NMI. */
bool fr_context_is_probed(const struct fr_context *context)
{
	unsigned int more = (preempt_count() & FR_CONTEXT_INTERRUPT) -
			    (context->preempt & FR_CONTEXT_INTERRUPT);

	return !more || more == NMI_OFFSET + HARDIRQ_OFFSET;
}

static void fr_context_tell(char *text, size_t size, const char *what)
{
	strlcat(text, *text ? ", " : "", size);
	strlcat(text, what, size);
}

/* Only what the dead have caused, even if others of the kind wait. */
static void fr_context_drop_signals(const struct fr_context *context)
{
	unsigned long sent = fr_context_signals() & ~context->signals;
	sigset_t others;

	if (!sent)
		return;

	siginitsetinv(&others, sent);
	compat_dequeue_signal(&others);
}

static void fr_context_restore_atomic(const struct fr_context *context, char *text, size_t size)
{
	bool softirqs = (preempt_count() ^ context->preempt) & SOFTIRQ_MASK;

	if (preempt_count() != context->preempt) {
		preempt_count_set(context->preempt);
		fr_context_tell(text, size,
				"preemption was off (if by a spinlock, it stays locked)");
	}

	if (irqs_disabled() && !context->irqs_off) {
		local_irq_enable();
		fr_context_tell(text, size, "interrupts were off");
	}

	/* Those that came meanwhile. */
	if (softirqs) {
		local_bh_disable();
		local_bh_enable();
	}
}

void fr_context_restore(const struct fr_context *context, char *text, size_t size)
{
	/* First: what is called after it may be traced, in the room that there is. */
	bool hooked = compat_return_hooks_restore(&context->hooks);

	fr_context_restore_atomic(context, text, size);
	if (hooked)
		fr_context_tell(text, size, "functions whose return is traced did not return");
	__set_current_state(TASK_RUNNING);

	if (rcu_preempt_depth() > context->rcu)
		fr_context_tell(text, size, "RCU was being read");
	while (rcu_preempt_depth() > context->rcu) {
		__acquire(RCU);	/* by whoever died */
		rcu_read_unlock();
	}

	if (current->pagefault_disabled != context->pagefaults)
		fr_context_tell(text, size, "page faults were off");
	current->pagefault_disabled = context->pagefaults;

	while (compat_migration_disabled() > context->migration)
		migrate_enable();

	current->plug = context->plug;
	current->bio_list = context->bios;
	current->reclaim_state = context->reclaim;
	current->journal_info = context->journal;
	current->flags = (current->flags & ~FR_CONTEXT_FLAGS) | context->flags;
	fr_context_drop_signals(context);
}

/* Nobody but current replaces it. */
static spinlock_t *fr_context_siglock(void)
{
	return &rcu_dereference_raw(current->sighand)->siglock;
}

/* Whoever asks, also for fatal ones, looks at this flag first. */
void fr_context_hide_signals(void)
{
	spin_lock_irq(fr_context_siglock());
	clear_thread_flag(TIF_SIGPENDING);
	spin_unlock_irq(fr_context_siglock());
}

void fr_context_show_signals(void)
{
	spin_lock_irq(fr_context_siglock());
	recalc_sigpending();
	spin_unlock_irq(fr_context_siglock());
}
