/* SPDX-License-Identifier: GPL-2.0-only */
/* explain.h - all about a module, without touching anything */
#ifndef FORCE_RMMOD_EXPLAIN_H
#define FORCE_RMMOD_EXPLAIN_H

#include "rescue.h"

/*
 * Tells all about the victim, and what a rescue would come to. Returns whether
 * asynchronous calls may be dead, for which every rmmod waits.
 */
bool fr_explain(struct fr_rescue *rescue);

/*
 * Whether the victim would have to stay: the same proof as before it is freed, on what
 * would be left after the undoing. verdict: of the judgement.
 */
bool fr_explain_stays(struct fr_rescue *rescue, int verdict);

#endif
