/* SPDX-License-Identifier: GPL-2.0-only */
/* facts.h - what becomes known of a case, for people and for programs */
#ifndef FORCE_RMMOD_FACTS_H
#define FORCE_RMMOD_FACTS_H

#include <linux/types.h>

struct task_struct;

/* Each is told in the log as "WORDS: TEXT" and, while a case is open, remembered as data. */
enum fr_topic {
	FR_TARGET,
	FR_STATE,
	FR_USED_BY,
	FR_USES,
	FR_HELD_BY,
	FR_REGISTERED,
	FR_OUTCOME,
	FR_RETIRED,	/* what the victim is called now */
	FR_REFUSED,
	FR_STEP,	/* what would be done */
	FR_UNDO,	/* what is done */
};

__printf(2, 3)
void fr_tell(enum fr_topic topic, const char *format, ...);

void fr_tell_refcount(int count);
void fr_tell_registered(const char *kind, const char *text);

/* An address that the kernel does not tell, and that could be handed over. */
void fr_tell_missing(const char *symbol);

/* Who holds the victim; the text is for people. */
struct fr_holder {
	const char *kind;
	struct task_struct *task;	/* NULL: no process */
	int descriptor;			/* -1: none */
	const char *path;		/* NULL: none */
};

__printf(2, 3)
void fr_tell_holder(const struct fr_holder *holder, const char *format, ...);

/* A case, one at a time; what others tell outside of one is not remembered. */
void fr_facts_begin(void);
void fr_facts_end(int descriptor);	/* of current, which gets them; -1: none */

/* The file explain.json, for as long as the module is there. */
int fr_facts_init(void);
void fr_facts_exit(void);

#endif
