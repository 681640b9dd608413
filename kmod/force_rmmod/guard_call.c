// SPDX-License-Identifier: GPL-2.0-only
/*
 * guard_call.c - calls that an oops ends like an error
 *
 * A die notifier sees every oops after its report is complete. If the task has
 * a guarded call under way, and the exception came from that call's own part of
 * the stack and not from an interrupt, the exception returns to the landing of
 * the call instead of killing the task. Everything else takes its usual course.
 *
 * The calls under way stand in an array that is read without a lock, since an
 * oops may come from anywhere, also from here.
 */
#include <linux/kallsyms.h>
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>

#include "guard.h"

#define FR_CALLS 64
#define FR_STACK_GUARD PAGE_SIZE	/* below the stack, never mapped */

static struct fr_call *fr_calls[FR_CALLS];

int fr_landing_enter(int (*fn)(void *data), void *data)
{
	return fn(data);
}

/* Only current enters and removes its own. */
static struct fr_call **fr_call_slot(void)
{
	struct fr_call *call;
	int i;

	for (i = 0; i < FR_CALLS; i++) {
		call = READ_ONCE(fr_calls[i]);
		if (call && READ_ONCE(call->task) == current)
			return &fr_calls[i];
	}

	return NULL;
}

static bool fr_call_enter(struct fr_call *call)
{
	struct fr_call **slot;
	int i;

	call->task = current;
	slot = fr_call_slot();
	if (slot) {
		call->outer = *slot;
		WRITE_ONCE(*slot, call);
		return true;
	}

	for (i = 0; i < FR_CALLS; i++)
		if (!cmpxchg(&fr_calls[i], NULL, call))
			return true;

	return false;
}

static void fr_call_leave(struct fr_call *call)
{
	WRITE_ONCE(*fr_call_slot(), call->outer);
}

struct fr_call *fr_call_current(void)
{
	struct fr_call **slot = fr_call_slot();

	return slot && fr_context_is_same(&(*slot)->context) ? *slot : NULL;
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

	return fr_context_is_same(&call->context) && sp >= stack && sp < call->landing.sp;
}

static int fr_call_die(struct notifier_block *block, unsigned long event, void *data)
{
	const struct die_args *args = data;
	struct fr_call **slot;
	struct fr_call *call;

	if (event != DIE_OOPS || !args->regs)
		return NOTIFY_DONE;

	slot = fr_call_slot();
	if (!slot || !fr_call_is_ours(*slot, args->regs))
		return NOTIFY_DONE;

	call = *slot;
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

	return ret ? ret : register_die_notifier(&fr_call_block);
}

void fr_call_exit(void)
{
	unregister_die_notifier(&fr_call_block);
}
