// SPDX-License-Identifier: GPL-2.0-only
/*
 * explain.c - all about a module, stuck or well, without touching anything
 *
 * facts.c says in which form programs get it. In the log a task that runs in the
 * module is followed by its stack.
 */
#include <linux/kernel.h>
#include <linux/module.h>

#include "evidence/evidence.h"
#include "explain.h"
#include "facts.h"
#include "undo/undo.h"
#include "victim/victim.h"

static void fr_explain_steps(struct fr_rescue *rescue, int verdict, int dead, bool stays)
{
	if (verdict != FR_SOUND) {
		if (dead)
			fr_tell(FR_STEP, "take %d dead asynchronous calls off their list", dead);
		fr_tell(FR_STEP, "let nobody new in");
		if (COMPAT_HAVE_IDEMPOTENT)
			fr_tell(FR_STEP, "cut dead entries out of finit_module's table");
		fr_undo_steps(rescue);
	}
	if (stays) {
		fr_tell(FR_STEP, "rename %s, which stays in memory", rescue->victim->name);
		return;
	}
	if (verdict != FR_SOUND)
		fr_tell(FR_STEP, "reset: state live, reference count 0, %s",
			verdict == FR_STUCK ? "neither init nor exit" : "its own exit");
	fr_tell(FR_STEP, "rmmod %s", rescue->victim->name);
}

static const char *fr_explain_outcome(int verdict, bool stays)
{
	if (stays)
		return "would be retired";

	switch (verdict) {
	case FR_SOUND:
		return "nothing to do";
	case FR_HALF:
		return "would be reset, with its own exit";
	default:
		return "would be undone and reset";
	}
}

bool fr_explain_stays(struct fr_rescue *rescue, int verdict)
{
	if (verdict == FR_SOUND || verdict == FR_HALF)
		return false;

	return rescue->kept_count || verdict == FR_LEAKED || !fr_scan_done(rescue) ||
	       fr_world_judge(rescue, fr_undo_cover);
}

bool fr_explain(struct fr_rescue *rescue)
{
	int dead, verdict, found, held;
	bool refused, stays = false;

	dead = fr_async_repair(rescue, false);
	if (dead > 0)
		pr_info("dead asynchronous calls: %d\n", dead);

	verdict = fr_victim_judge(rescue);
	refused = dead < 0 || verdict < 0;
	held = fr_holders_check(rescue, dead > 0);
	refused |= held < 0;

	refused |= fr_scan(rescue) < 0;
	if (verdict == FR_LEAKED)
		refused |= fr_owners_check(rescue) < 0;
	if (verdict == FR_LEAKED && dead > 0)
		verdict = FR_HALF;
	if (held > 0)
		verdict = FR_LEAKED;
	if (verdict >= FR_LEAKED)
		refused |= fr_retire_check(rescue->victim) < 0;
	rescue->repairs_only = verdict < FR_LEAKED;
	found = fr_undo(rescue, false);
	if (found < 0)
		refused = true;
	/* Sound, but for a device of its that is in the hands of the dead. */
	else if (verdict == FR_SOUND && found)
		verdict = FR_HALF;

	if (!refused) {
		stays = fr_explain_stays(rescue, verdict);
		rescue->stays = stays;
		fr_explain_steps(rescue, verdict, dead, stays);
	}
	fr_tell(FR_OUTCOME, "%s", refused ? "would be refused" : fr_explain_outcome(verdict, stays));

	return dead;
}
