/* SPDX-License-Identifier: GPL-2.0-only */
/* force_rmmod.h - what the parts of force_rmmod offer each other */
#ifndef FORCE_RMMOD_H
#define FORCE_RMMOD_H

#include "kernel/kernel.h"
#include "victim/victim.h"
#include "evidence/evidence.h"
#include "undo/undo.h"

/* main.c: whether to take a risk, named in the log, when proof is missing. */
extern bool fr_force;

/* main.c: whether what is found is told, and nothing done. */
extern bool fr_explain;

/*
 * explain.c: tells all about the victim, and what a rescue would come to. Returns
 * whether asynchronous calls may be dead, for which every rmmod waits.
 */
bool fr_tell(struct module *victim);

/*
 * guard/journal.c: when an object was registered, larger for later, 0 if unknown;
 * and what fr_victim_each_word() does for what the victim keeps nowhere.
 */
unsigned int fr_journal_serial(const void *object);
int fr_journal_each_word(struct module *victim,
			 int (*fn)(struct module *victim, unsigned long *word, void *data),
			 void *data);

#endif
