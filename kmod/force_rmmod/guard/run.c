// SPDX-License-Identifier: GPL-2.0-only
/*
 * run.c - a call of a guarded module; if it dies, what it left is undone
 *
 * Nothing is freed that may still be in use. If something cannot be undone, or what
 * leads into the module cannot be proven dead, or somebody living stays inside it, the
 * module is retired; and the task ends as the oops would have ended it without us, since
 * whoever called the module frees it when the call returns.
 */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "evidence/evidence.h"
#include "guard/guard.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* Whoever only passes through the module gets that long. */
#define FR_GUARD_ROUNDS 3
#define FR_GUARD_PAUSE_MS 500

static void (*fr_run_forget)(struct module *mod);

void fr_run_init(void (*forget)(struct module *mod))
{
	fr_run_forget = forget;
}

/* A call that died, and the case of the module that it was of. */
struct fr_death {
	struct fr_call *call;
	char name[MODULE_NAME_LEN];	/* the module's, before it may get another */
	struct fr_rescue rescue;
};

static bool fr_guard_is_held(struct fr_rescue *rescue)
{
	int round;

	for (round = 0; round < FR_GUARD_ROUNDS; round++) {
		if (round)
			msleep(FR_GUARD_PAUSE_MS);
		if (!fr_holders_check(rescue, false))
			return false;
	}

	return true;
}

/* Whether, when all is undone that can be, the module has to stay. */
static bool fr_guard_foresees(struct fr_rescue *rescue)
{
	return fr_guard_is_held(rescue) || fr_scan(rescue) || fr_undo(rescue, false) < 0 ||
	       rescue->kept_count || fr_world_judge(rescue, fr_undo_cover);
}

/* 0 if nothing is left that would outlive the module's memory. */
static int fr_guard_clear(void *data)
{
	struct fr_death *death = data;
	struct fr_rescue *rescue = &death->rescue;
	struct fr_call *call = death->call;
	int ret;

	fr_locks_release(call->mod, call->repaired, sizeof(call->repaired));
	ret = fr_victim_quarantine(call->mod, READ_ONCE(call->mod->state),
				   module_refcount(call->mod));
	if (ret)
		return ret;

	rescue->stays = fr_guard_foresees(rescue);
	ret = fr_undo(rescue, true);
	if (ret >= 0)
		ret = rescue->stays || fr_proof_check(rescue) ? -EBUSY : 0;

	return ret;
}

static int fr_guard_retire(void *data)
{
	struct fr_death *death = data;
	struct fr_rescue *rescue = &death->rescue;
	int ret = fr_loader_resolve();

	if (!ret)
		ret = fr_retire_check(rescue->victim);
	if (!ret)
		ret = fr_retire(rescue->victim);
	if (!ret)
		fr_undo_tell_kept(rescue);

	return ret;
}

/* What dies in here is not the end either. */
static int fr_guard_try(struct fr_death *death, int (*fn)(void *data))
{
	struct fr_call *call = death->call;
	struct fr_call try = { .mod = call->mod, .what = "undoing" };
	int ret;

	/* One who is to be killed has to be let go all the more. */
	fr_context_hide_signals();
	ret = fr_call_run(&try, fn, death);
	fr_context_show_signals();
	fr_scan_forget(&death->rescue);
	fr_lookup_forget();
	if (try.died) {
		pr_err("guard: undoing what %s left died at %s\n", call->mod->name, try.place);
		fr_locks_release(call->mod, call->repaired, sizeof(call->repaired));
	}

	return ret;
}

static void fr_guard_tell(const struct fr_death *death, bool stays)
{
	const struct fr_call *call = death->call;
	const char *undone = death->rescue.undone;
	const char *now = stays ? call->mod->name : "";

	pr_warn("guard: %s of %s died at %s (%s); undone: %s; repaired: %s%s%s\n", call->what,
		death->name, call->place, call->reason, *undone ? undone : "nothing",
		*call->repaired ? call->repaired : "nothing", *now ? "; stays as " : "", now);
	fr_report_event(call, death->name, undone, now);
}

/* Nobody comes back here: not to the module, which stays, nor to who called it. */
static void __noreturn fr_guard_end(struct fr_call *call)
{
	fr_loader_leave();
	fr_locks_release_params(call->mod);
	fr_call_hold(call);
	fr_run_forget(call->mod);
	fr_call_end_task();
}

static bool fr_guard_is_ours(const void *start)
{
	return fr_journal_is_ours(start) || fr_guarded_is_ours(start);
}

/* One at a time, as the rescue. */
static void fr_guard_mourn(struct fr_call *call)
{
	struct fr_death death = {
		.call = call,
		.rescue = {
			.victim = call->mod,
			.is_ours = fr_guard_is_ours,
			.options = { .scan = true },
		},
	};
	bool stays;

	strscpy(death.name, call->mod->name, sizeof(death.name));
	mutex_lock(&fr_undo_lock);
	death.rescue.journal = fr_journal_copy(call->journal);
	stays = fr_guard_try(&death, fr_guard_clear);
	if (stays)
		fr_guard_try(&death, fr_guard_retire);
	fr_guard_tell(&death, stays);
	mutex_unlock(&fr_undo_lock);
	if (!stays)
		return;

	fr_journal_end(call->journal);
	fr_guard_end(call);
}

int fr_guard_run(struct module *mod, const char *what, int (*fn)(void *data), void *data)
{
	struct fr_call call = { .mod = mod, .what = what, .journal = fr_journal_begin() };
	int ret;

	fr_report_call();
	ret = fr_call_run(&call, fn, data);
	if (call.died)
		fr_guard_mourn(&call);
	fr_journal_end(call.journal);

	return ret;
}
