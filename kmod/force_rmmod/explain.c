// SPDX-License-Identifier: GPL-2.0-only
/*
 * explain.c - all about a module, stuck or well, without touching anything
 *
 * One fact a line. Those that have one of these beginnings are for programs too
 * (tools/force-rmmod/json.c reads them):
 *
 *	target: NAME
 *	state: WORDS
 *	reference count: NUMBER
 *	used by: MODULE			"no module" if none does
 *	uses: MODULE			"no module" if it uses none
 *	held by: pid NUMBER, COMMAND, descriptor NUMBER, PATH
 *	held by: pid NUMBER, COMMAND, socket NUMBER, protocol NAME
 *	held by: pid NUMBER, COMMAND, mapping at ADDRESS, PATH
 *	held by: pid NUMBER, COMMAND, mount of TYPE at PATH
 *	held by: pid NUMBER, COMMAND, runs in it
 *	held by: a mount of TYPE that no process sees
 *	held by: perhaps the kernel, WORDS	through what it uses of the module
 *	stack: FUNCTION			of whoever runs in it
 *	registered: KIND: WORDS
 *	refused: REASON			why a rescue would not be done
 *	step: WORDS			what a rescue would do, in this order
 *	outcome: WORDS
 */
#include <linux/kernel.h>
#include <linux/module.h>

#include "evidence/evidence.h"
#include "explain.h"
#include "undo/undo.h"
#include "victim/victim.h"

static void fr_tell_steps(struct fr_rescue *rescue, int verdict, int dead, bool stays)
{
	if (verdict != FR_SOUND) {
		if (dead)
			pr_info("step: take %d dead asynchronous calls off their list\n", dead);
		pr_info("step: let nobody new in\n");
		if (COMPAT_HAVE_IDEMPOTENT)
			pr_info("step: cut dead entries out of finit_module's table\n");
		fr_undo_steps(rescue);
	}
	if (stays) {
		pr_info("step: rename %s, which stays in memory\n", rescue->victim->name);
		return;
	}
	if (verdict != FR_SOUND)
		pr_info("step: reset: state live, reference count 0, %s\n",
			verdict == FR_STUCK ? "neither init nor exit" : "its own exit");
	pr_info("step: rmmod %s\n", rescue->victim->name);
}

static const char *fr_tell_outcome(int verdict, bool stays)
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

/* The same proof as a rescue's, on what would be left after the undoing. */
static bool fr_tell_stays(struct fr_rescue *rescue, int verdict)
{
	if (verdict == FR_SOUND || verdict == FR_HALF)
		return false;

	return rescue->kept_count || verdict == FR_LEAKED || !fr_scan_done(rescue) ||
	       fr_world_judge(rescue, fr_undo_cover);
}

bool fr_tell(struct fr_rescue *rescue)
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
		stays = fr_tell_stays(rescue, verdict);
		fr_tell_steps(rescue, verdict, dead, stays);
	}
	pr_info("outcome: %s\n", refused ? "would be refused" : fr_tell_outcome(verdict, stays));

	return dead;
}
