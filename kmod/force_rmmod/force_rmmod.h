/* SPDX-License-Identifier: GPL-2.0-only */
/* force_rmmod.h - what the parts of force_rmmod offer each other */
#ifndef FORCE_RMMOD_H
#define FORCE_RMMOD_H

#include <linux/types.h>

struct kobject;
struct module;
struct mutex;

/*
 * lookup.c: the address of a variable that the kernel does not export, of at
 * least size bytes, or NULL. For data only.
 */
void *fr_lookup(const char *symbol, size_t size);

/*
 * victim.c: the module. Found by name, with a reference that keeps it from
 * being freed until fr_victim_put(); fr_victim_find() returns an ERR_PTR.
 */
struct module *fr_victim_find(const char *name);
void fr_victim_put(struct module *victim);
int fr_victim_describe(struct module *victim);

/* What fr_victim_judge() found, if not a negative errno. */
enum fr_verdict {
	FR_NOTHING_TO_DO,
	FR_STUCK,
};

int fr_victim_judge(struct module *victim);

/* Nobody gets hold of the victim until it is released, into a state, or reset. */
int fr_victim_quarantine(struct module *victim, int state);
void fr_victim_release(struct module *victim, int state);
void fr_victim_reset(struct module *victim);

/* The first word of the victim's writable data that holds value, or NULL. */
unsigned long *fr_victim_holder(struct module *victim, unsigned long value);

/* Calls fn for each such word until fn returns non-zero, and returns that. */
int fr_victim_each_word(struct module *victim,
			int (*fn)(struct module *victim, unsigned long *word, void *data),
			void *data);

/* Whether a sysfs object is younger than the victim's own. */
bool fr_victim_is_older(const struct module *victim, const struct kobject *kobj);

/* loader.c: cut the entries of dead tasks out of finit_module()'s table. */
int fr_loader_resolve(void);
int fr_loader_repair(void);

/* references.c: 0, or -EBUSY if a living task may return into the victim. */
int fr_references_check(const struct module *victim);

/* undo.c: undo what the victim left behind, or, without apply, only look. */
int fr_undo(struct module *victim, bool apply);

/* undo_<kind>.c: rows of the table; how many objects there were, or an errno. */
int fr_undo_input(struct module *victim, bool apply);
int fr_undo_platform(struct module *victim, bool apply);

#endif
