/* SPDX-License-Identifier: GPL-2.0-only */
/* victim.h - the module to be rescued, and what the kernel remembers of its loading */
#ifndef FORCE_RMMOD_VICTIM_H
#define FORCE_RMMOD_VICTIM_H

#include <linux/module.h>
#include <linux/types.h>

struct kobject;
struct task_struct;

/*
 * victim.c: the module. Found by name, with a reference that keeps it from
 * being freed until fr_victim_put(), if it has got as far as to have one;
 * fr_victim_find() returns an ERR_PTR.
 */
int fr_victim_resolve(void);
struct module *fr_victim_find(const char *name);
void fr_victim_put(struct module *victim);
int fr_victim_describe(struct module *victim);

/* Calls fn for every module, while none comes or goes, until it returns non-zero. */
int fr_victim_each(int (*fn)(struct module *mod, void *data), void *data);

/* What fr_victim_judge() found, if not a negative errno. */
enum fr_verdict {
	FR_SOUND,	/* init returned, nobody holds it, and it has its own exit */
	FR_LEAKED,	/* the same, but for references: whose? */
	FR_STUCK,	/* init or exit died, or there is no exit */
};

int fr_victim_judge(struct module *victim);

/* Nobody gets hold of the victim until it is released, into a state, or reset. */
int fr_victim_quarantine(struct module *victim, int state, int refs);
void fr_victim_release(struct module *victim, int state);
int fr_victim_reset(struct module *victim, bool keep_exit);

/* The first word of the victim's writable data that holds value, or NULL. */
unsigned long *fr_victim_holder(struct module *victim, unsigned long value);

/* Clears all words that hold value, which leads to what is no more: 0, or an errno. */
int fr_victim_forget(struct module *victim, unsigned long value);

/* Calls fn for each word of that data until fn returns non-zero, and returns that. */
int fr_victim_each_word(struct module *victim,
			int (*fn)(struct module *victim, unsigned long *word, void *data),
			void *data);

/* Whether an address that is perhaps NULL lies in the victim's memory. */
bool fr_victim_has(const struct module *victim, const void *address);

/* Whether a string stands in the victim's memory, from its beginning to its end. */
bool fr_victim_has_string(const struct module *victim, const char *string);

/* Whether a sysfs object is younger than the victim's own. */
bool fr_victim_is_older(const struct module *victim, const struct kobject *kobj);

/* loader.c: cut the entries of dead tasks out of finit_module()'s table. */
int fr_loader_resolve(void);
int fr_loader_repair(void);

/* async.c: asynchronous calls of the victim whose worker died; how many. */
int fr_async_repair(struct module *victim, bool apply);

/* Whether a task waits for asynchronous calls to be done; after fr_async_repair(). */
bool fr_async_awaits(const struct task_struct *task);

#endif
