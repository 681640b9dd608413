// SPDX-License-Identifier: GPL-2.0-only
/*
 * run.c - a call of a guarded module; if it dies, what it left is undone
 *
 * Nothing is freed that is still in use: as long as something cannot be undone,
 * or a living task is inside the module, the call does not return, and the log
 * tells what it waits for.
 */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "evidence/evidence.h"
#include "guard/guard.h"
#include "kernel/kernel.h"
#include "undo/undo.h"

#define FR_GUARD_PAUSE_MS 1000
#define FR_GUARD_PAUSE_MAX_MS 60000

static const struct fr_options *fr_run_options;

void fr_run_init(const struct fr_options *options)
{
	fr_run_options = options;
}

/* A call that died, and the case of the module that it was of. */
struct fr_death {
	struct fr_call *call;
	struct fr_rescue rescue;
};

/* Whether nothing is left that would outlive the module's memory. */
static int fr_guard_clear(void *data)
{
	struct fr_death *death = data;
	struct fr_rescue *rescue = &death->rescue;
	struct fr_call *call = death->call;
	int ret;

	fr_locks_release(call->mod, call->repaired, sizeof(call->repaired));
	ret = fr_scan(rescue);
	if (!ret)
		ret = fr_undo(rescue, true);
	if (ret >= 0)
		ret = fr_holders_check(rescue, false);
	if (!ret)
		ret = fr_scan_done(rescue) && fr_proof_check(rescue) ? -EBUSY : 0;

	return ret;
}

/* What dies in here is not the end either. */
static int fr_guard_undo(struct fr_death *death)
{
	struct fr_call *call = death->call;
	struct fr_call undo = { .mod = call->mod, .what = "undoing" };
	int ret;

	/* One who is to be killed has to be let go all the more. */
	fr_context_hide_signals();
	ret = fr_call_run(&undo, fr_guard_clear, death);
	fr_context_show_signals();
	fr_scan_forget(&death->rescue);
	fr_lookup_forget();
	if (undo.died) {
		pr_err("guard: undoing what %s left died at %s\n", call->mod->name, undo.place);
		fr_locks_release(call->mod, call->repaired, sizeof(call->repaired));
	}

	return ret;
}

static void fr_guard_tell(const struct fr_death *death)
{
	const struct fr_call *call = death->call;
	const char *undone = death->rescue.undone;

	pr_warn("guard: %s of %s died at %s (%s); undone: %s; repaired: %s\n", call->what,
		call->mod->name, call->place, call->reason, *undone ? undone : "nothing",
		*call->repaired ? call->repaired : "nothing");
	fr_report_event(call, undone);
}

/* One at a time, as the rescue. */
static int fr_guard_try(struct fr_call *call)
{
	struct fr_death death = {
		.call = call,
		.rescue = { .victim = call->mod, .guarded = true, .options = *fr_run_options },
	};
	bool force = death.rescue.options.force;
	int ret;

	/* That is for rescues only. */
	death.rescue.options.explain = false;
	mutex_lock(&fr_undo_lock);
	death.rescue.journal = fr_journal_copy(call->journal);
	ret = fr_guard_undo(&death);
	/* Who runs in it would take the machine down. */
	if (ret && force && fr_references_inside(call->mod)) {
		pr_err("force: not while a living task runs in %s\n", call->mod->name);
	} else if (ret && force) {
		pr_warn("force: %s is let go all the same\n", call->mod->name);
		ret = 0;
	}
	if (!ret)
		fr_guard_tell(&death);
	mutex_unlock(&fr_undo_lock);

	return ret;
}

static void fr_guard_mourn(struct fr_call *call)
{
	unsigned int pause = FR_GUARD_PAUSE_MS;

	fr_report_wait(1);
	while (fr_guard_try(call)) {
		pr_err("guard: %s cannot be let go, see above; the next look in %u s\n",
		       call->mod->name, pause / 1000);
		msleep(pause);
		pause = min(2 * pause, (unsigned int)FR_GUARD_PAUSE_MAX_MS);
	}
	fr_report_wait(-1);
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
