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

static void fr_explain_steps(struct fr_rescue *rescue, int verdict, int dead)
{
	if (verdict != FR_SOUND) {
		if (dead)
			fr_tell(FR_STEP, "take %d dead asynchronous calls off their list", dead);
		fr_tell(FR_STEP, "let nobody new in");
		if (COMPAT_HAVE_IDEMPOTENT)
			fr_tell(FR_STEP, "cut dead entries out of finit_module's table");
		fr_undo_steps(rescue);
		if (verdict == FR_STUCK && fr_scan_done(rescue))
			fr_tell(FR_STEP, "refuse if what still leads into %s is alive",
				rescue->victim->name);
		fr_tell(FR_STEP, "reset: state live, reference count 0, %s",
			verdict == FR_STUCK ? "neither init nor exit" : "its own exit");
	}

	fr_tell(FR_STEP, "rmmod %s", rescue->victim->name);
}

static const char *fr_explain_outcome(int verdict)
{
	switch (verdict) {
	case FR_SOUND:
		return "nothing to do";
	case FR_LEAKED:
		return "would be reset, with its own exit";
	default:
		return "would be undone and reset";
	}
}

bool fr_explain(struct fr_rescue *rescue)
{
	int dead, verdict, found;
	bool refused;

	dead = fr_async_repair(rescue, false);
	if (dead > 0)
		pr_info("dead asynchronous calls: %d\n", dead);

	verdict = fr_victim_judge(rescue);
	refused = dead < 0 || verdict < 0;
	if (verdict > FR_SOUND) {
		refused |= fr_holders_check(rescue, dead > 0) < 0;
	} else {
		fr_references_tell(rescue, false);
		fr_holders_tell(rescue);
	}

	refused |= fr_scan(rescue) < 0;
	if (verdict == FR_LEAKED)
		refused |= fr_owners_check(rescue) < 0;
	rescue->repairs_only = verdict == FR_SOUND || verdict == FR_LEAKED;
	found = fr_undo(rescue, false);
	if (found < 0)
		refused = true;
	/* Sound, but for a device of its that is in the hands of the dead. */
	else if (verdict == FR_SOUND && found)
		verdict = FR_LEAKED;

	if (!refused)
		fr_explain_steps(rescue, verdict, dead);
	fr_tell(FR_OUTCOME, "%s", refused ? "would be refused" : fr_explain_outcome(verdict));

	return dead;
}
