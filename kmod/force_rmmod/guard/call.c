// SPDX-License-Identifier: GPL-2.0-only
/*
 * call.c - calls that an oops ends like an error
 *
 * A die notifier sees every oops, on x86 after its report is complete. If the task has
 * a guarded call under way, and the exception came from that call's own part of
 * the stack and not from an interrupt, the exception returns to the landing of
 * the call instead of killing the task. Everything else takes its usual course.
 *
 * The calls under way stand in an array that is read without a lock, since an
 * oops may come from anywhere, also from here.
 */
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kallsyms.h>
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>

#include "guard/guard.h"

#define FR_CALL_PAUSE_MS 20
#define FR_STACK_GUARD PAGE_SIZE	/* below the stack, never mapped */

/* The call is on its task's stack: only that task may look at it. */
struct fr_slot {
	struct task_struct *task;	/* NULL: the slot is free */
	struct fr_call *call;		/* the innermost; NULL while it comes or goes */
};

static struct fr_slot fr_slots[FR_CALLS];

/* Only current enters and removes its own. */
static struct fr_slot *fr_call_slot(void)
{
	int i;

	for (i = 0; i < FR_CALLS; i++)
		if (READ_ONCE(fr_slots[i].task) == current)
			return &fr_slots[i];

	return NULL;
}

static struct fr_call *fr_call_innermost(void)
{
	struct fr_slot *slot = fr_call_slot();

	return slot ? READ_ONCE(slot->call) : NULL;
}

static bool fr_call_enter(struct fr_call *call)
{
	struct fr_slot *slot = fr_call_slot();
	int i;

	for (i = 0; i < FR_CALLS && !slot; i++)
		if (!cmpxchg(&fr_slots[i].task, NULL, current))
			slot = &fr_slots[i];
	if (!slot)
		return false;

	call->outer = slot->call;
	WRITE_ONCE(slot->call, call);
	return true;
}

static void fr_call_leave(struct fr_call *call)
{
	struct fr_slot *slot = fr_call_slot();

	WRITE_ONCE(slot->call, call->outer);
	if (!call->outer)
		smp_store_release(&slot->task, NULL);
}

struct fr_call *fr_call_current(void)
{
	struct fr_call *call = fr_call_innermost();

	return call && fr_context_is_same(&call->context) ? call : NULL;
}

/* Whether an exception found the task in the call itself. */
static bool fr_call_has_stack(const struct fr_call *call, struct pt_regs *regs)
{
	unsigned long sp = kernel_stack_pointer(regs);

	return sp >= (unsigned long)task_stack_page(current) && sp < call->landing.sp;
}

struct fr_call *fr_call_probed(struct pt_regs *regs)
{
	struct fr_call *call = fr_call_innermost();

	if (!call || !fr_context_is_probed(&call->context) || !fr_call_has_stack(call, regs))
		return NULL;

	return call;
}

static bool fr_call_is_ours(const struct fr_call *call, struct pt_regs *regs)
{
	unsigned long stack = (unsigned long)task_stack_page(current);
	unsigned long sp = kernel_stack_pointer(regs);

	if (user_mode(regs))
		return false;

	/* The kernel's report of this counts as an interrupt. */
	if (stack - sp < FR_STACK_GUARD) {
		pr_err("guard: %s of %s overflowed its stack, which cannot be mended\n",
		       call->what, call->mod->name);
		return false;
	}

	return fr_context_is_same(&call->context) && fr_call_has_stack(call, regs);
}

/* What the kernel ends a task with after an oops. */
static unsigned long fr_call_end;

/* Before 5.17 it was do_exit(). */
static void fr_call_find_end(void)
{
	static const char *const names[] = { "make_task_dead", "do_exit" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names) && !fr_call_end; i++) {
		struct kprobe probe = { .symbol_name = names[i], .flags = KPROBE_FLAG_DISABLED };

		if (register_kprobe(&probe))
			continue;
		fr_call_end = (unsigned long)probe.addr;
		unregister_kprobe(&probe);
	}
}

void fr_call_hold(struct fr_call *call)
{
	while (!fr_call_enter(call))
		msleep(FR_CALL_PAUSE_MS);
	WRITE_ONCE(fr_call_slot()->call, NULL);
}

void __noreturn fr_call_end_task(void)
{
	struct fr_slot *slot = fr_call_slot();

	/* Or another oops does the same. */
	BUG_ON(!fr_call_end);
	/* Whoever frees us waits until interrupts are on again, which is not in our code. */
	local_irq_disable();
	smp_store_release(&slot->task, NULL);
	fr_landing_leave();
}

static bool fr_call_is_under_way(void)
{
	int i;

	for (i = 0; i < FR_CALLS; i++)
		if (smp_load_acquire(&fr_slots[i].task))
			return true;

	return false;
}

static int fr_call_die(struct notifier_block *block, unsigned long event, void *data)
{
	const struct die_args *args = data;
	struct fr_call *call;

	if (event == DIE_INT3 && fr_landing_is_leaving(args->regs)) {
		fr_landing_go(args->regs, fr_call_end, SIGKILL);
		return NOTIFY_STOP;
	}
	if (event != DIE_OOPS || !args->regs)
		return NOTIFY_DONE;

	call = fr_call_innermost();
	if (!call || !fr_call_is_ours(call, args->regs))
		return NOTIFY_DONE;

	call->died = true;
	strscpy(call->reason, args->str, sizeof(call->reason));
	snprintf(call->place, sizeof(call->place), "%pS",
		 (void *)instruction_pointer(args->regs));
	fr_landing_redirect(&call->landing, args->regs, -EFAULT);
	return NOTIFY_STOP;
}

/* Before others, who would take it for the end. */
static struct notifier_block fr_call_block = {
	.notifier_call = fr_call_die,
	.priority = INT_MAX,
};

int fr_call_run(struct fr_call *call, int (*fn)(void *data), void *data)
{
	int ret;

	fr_context_save(&call->context);
	if (!fr_call_enter(call)) {
		pr_warn("guard: %d calls are under way; %s of %s is not guarded\n", FR_CALLS,
			call->what, call->mod->name);
		return fn(data);
	}

	ret = fr_landing_call(&call->landing, fn, data);
	fr_call_leave(call);
	if (!call->died)
		return ret;

	fr_context_restore(&call->context, call->repaired, sizeof(call->repaired));
	return -EFAULT;
}

int fr_call_init(void)
{
	int ret = fr_landing_init();

	fr_call_find_end();
	return ret ? ret : register_die_notifier(&fr_call_block);
}

void fr_call_exit(void)
{
	while (fr_call_is_under_way())
		msleep(FR_CALL_PAUSE_MS);
	synchronize_rcu();
	unregister_die_notifier(&fr_call_block);
}
