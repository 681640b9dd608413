/* SPDX-License-Identifier: GPL-2.0-only */
/* guard.h - what the parts of the guard offer each other */
#ifndef FORCE_RMMOD_GUARD_H
#define FORCE_RMMOD_GUARD_H

#include <linux/types.h>

struct module;
struct pt_regs;
struct task_struct;

/* Where a guarded call goes on if it does not come back by itself. */
struct fr_landing {
	unsigned long ip, sp, fp;	/* the rest the compiler keeps on the stack */
};

/*
 * guard_<architecture>.c, all that an architecture needs: call fn, and come back
 * from it with what it returns, or, after fr_landing_redirect() of the registers
 * that an exception has saved, when that exception ends, with ret.
 */
int fr_landing_call(struct fr_landing *landing, int (*fn)(void *data), void *data);
void fr_landing_redirect(const struct fr_landing *landing, struct pt_regs *regs, int ret);

/* What fr_landing_call() calls in its turn. */
int fr_landing_enter(int (*fn)(void *data), void *data);

/* What a task had when a guarded call began, and must have again after it died. */
struct fr_context {
	unsigned int preempt;
	bool irqs_off;
	int rcu, pagefaults, migration;
	struct compat_return_hooks hooks;
	struct blk_plug *plug;
	unsigned int flags;
	unsigned long signals;	/* those of FR_CONTEXT_SIGNALS that are pending */
};

/* guard_context.c */
void fr_context_save(struct fr_context *context);
bool fr_context_is_same(const struct fr_context *context);	/* not in an interrupt */
void fr_context_restore(const struct fr_context *context, char *text, size_t size);

/* guard_locks.c: gives back what current, which died, holds; names it in text. */
void fr_locks_release(struct module *victim, char *text, size_t size);

/* guard_call.c: calls of the guarded modules' code, any number at a time. */
struct fr_call {
	struct task_struct *task;
	struct fr_call *outer;		/* of the same task */
	struct module *mod;
	const char *what;		/* the function that is called, for people */
	struct fr_landing landing;
	struct fr_context context;

	bool died;
	char reason[32];		/* as in the first line of the oops */
	char place[80];			/* the function in which it died */
	char repaired[160];		/* what it had left of the task's own, and locks */
};

int fr_call_init(void);
void fr_call_exit(void);

/* Calls fn; if it dies: call->died, and -EFAULT. */
int fr_call_run(struct fr_call *call, int (*fn)(void *data), void *data);

/* guard.c: the mode of force_rmmod in which it stays, as the parameter guard has it. */
bool fr_guard_wanted(void);
int fr_guard_init(void);
void fr_guard_exit(void);

#endif
