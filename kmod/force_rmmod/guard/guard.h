/* SPDX-License-Identifier: GPL-2.0-only */
/* guard.h - what the parts of the guard offer each other */
#ifndef FORCE_RMMOD_GUARD_H
#define FORCE_RMMOD_GUARD_H

#include <linux/types.h>

#include "rescue.h"

struct bio_list;
struct blk_plug;
struct module;
struct pt_regs;
struct reclaim_state;
struct task_struct;

/* Where a guarded call goes on if it does not come back by itself. */
struct fr_landing {
	unsigned long ip, sp, fp;	/* the rest the compiler keeps on the stack */
};

/*
 * <architecture>.c, all that an architecture needs: tell whether it can; call
 * fn, and come back from it with what it returns, or, after fr_landing_redirect() of
 * the registers that an exception has saved, when that exception ends, with ret. Last,
 * make an exception that is told to notifiers as DIE_INT3, and tell it from others; and
 * let an exception end in the call of a function, with interrupts on.
 */
int fr_landing_init(void);
void __noreturn fr_landing_leave(void);
bool fr_landing_is_leaving(const struct pt_regs *regs);
void fr_landing_go(struct pt_regs *regs, unsigned long function, unsigned long argument);
int fr_landing_call(struct fr_landing *landing, int (*fn)(void *data), void *data);
void fr_landing_redirect(const struct fr_landing *landing, struct pt_regs *regs, int ret);

/* What a task had when a guarded call began, and must have again after it died. */
struct fr_context {
	unsigned int preempt;
	bool irqs_off;
	int rcu, pagefaults, migration;
	struct compat_return_hooks hooks;
	struct blk_plug *plug;
	struct bio_list *bios;
	struct reclaim_state *reclaim;
	void *journal;
	unsigned int flags;
	unsigned long signals;	/* those of FR_CONTEXT_SIGNALS that are pending */
};

/* context.c */
void fr_context_save(struct fr_context *context);
bool fr_context_is_same(const struct fr_context *context);	/* not in an interrupt */
bool fr_context_is_probed(const struct fr_context *context);	/* but perhaps in a probe's */
void fr_context_restore(const struct fr_context *context, char *text, size_t size);

/* Between the two nothing that waits gives up for a signal that has come before. */
void fr_context_hide_signals(void);
void fr_context_show_signals(void);

/* locks.c: gives back what current, which died, holds; names it in text. */
void fr_locks_init(void);
void fr_locks_release(struct module *victim, char *text, size_t size);

/* The same of its parameters' lock, which the setter's caller gives back if it can. */
void fr_locks_release_params(struct module *mod);

/* call.c: calls of the guarded modules' code, of so many tasks at a time. */
#define FR_CALLS 64

struct fr_call {
	struct fr_call *outer;		/* of the same task */
	struct module *mod;
	const char *what;		/* the function that is called, for people */
	struct fr_journal *journal;	/* may be NULL */
	struct fr_landing landing;
	struct fr_context context;

	bool died;
	char reason[32];		/* as in the first line of the oops */
	char place[80];			/* the function in which it died */
	char repaired[160];		/* what it had left of the task's own, and locks */
};

int fr_call_init(void);
void fr_call_exit(void);

/* The call in which current is, and not an interrupt on top of it; or NULL. */
struct fr_call *fr_call_current(void);

/* The same when a probe is hit, which may be by an exception of its own. */
struct fr_call *fr_call_probed(struct pt_regs *regs);

/* Calls fn; if it dies: call->died, and -EFAULT. */
int fr_call_run(struct fr_call *call, int (*fn)(void *data), void *data);

/*
 * Ends current, whose call has died, as an oops would. Held before by that call, we stay
 * until it is out of our code.
 */
void fr_call_hold(struct fr_call *call);
void __noreturn fr_call_end_task(void);

/* journal.c: what a call registers, and what was found of it. */
int fr_journal_init(void);	/* how many functions are probed */
void fr_journal_exit(void);
struct fr_journal *fr_journal_begin(void);	/* or NULL */
void fr_journal_end(struct fr_journal *journal);

/* The same, or NULL, to be used with a rescue, one at a time: its words may be cleared. */
struct fr_journal *fr_journal_copy(const struct fr_journal *journal);

/* Whether what is allocated at an address is a probe's, for the calls it has seen. */
bool fr_journal_is_ours(const void *start);

/* report.c: counters and the last events, in sysfs. */
int fr_report_init(void);
void fr_report_exit(void);
void fr_report_call(void);
void fr_report_event(const struct fr_call *call, const char *name, const char *undone,
		     const char *stays);

/* places.c: the parameter guard, or NULL. Each guarded module has a place. */
#define FR_PLACES 256

struct fr_guarded {
	struct module *mod;		/* NULL: the place is free */
	struct task_struct *loader;	/* until init is called */
	int (*init)(void);
	void (*exit)(void);
	bool holds;			/* a reference to us */
	struct kernel_param *params, *real_params;	/* param.c */
};

extern struct fr_guarded fr_guarded[FR_PLACES];

const char *fr_guard_wanted(void);
bool fr_guard_wants(const struct module *mod);
unsigned int fr_guard_count(void);	/* modules guarded now */
struct fr_guarded *fr_guarded_find(const struct module *mod);
struct fr_guarded *fr_guarded_add(struct module *mod);

/* Whether what is allocated at an address is a copy of some module's table of parameters. */
bool fr_guarded_is_ours(const void *start);

/* That which current is loading, before its init is called, or NULL. */
struct fr_guarded *fr_guarded_loading(void);
void fr_guarded_forget(const struct task_struct *loader);

/*
 * run.c: calls a function of the module; if it dies, undoes what it left: -EFAULT. If
 * that cannot be done for certain, the module is retired and forgotten, and current ends
 * as it would have without us.
 */
void fr_run_init(void (*forget)(struct module *mod));
int fr_guard_run(struct module *mod, const char *what, int (*fn)(void *data), void *data);

/* param.c: before parameters are set, before init is called, and at last. */
void fr_params_guard(struct fr_guarded *guarded);
void fr_params_restore(struct fr_guarded *guarded);
void fr_params_free(struct fr_guarded *guarded);

/* guard.c: the mode of force_rmmod in which it stays */
int fr_guard_init(void);
void fr_guard_exit(void);

/* guard.c: a module that stays for ever is guarded no more. */
void fr_guard_forget(struct module *mod);

#endif
