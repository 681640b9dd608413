/* SPDX-License-Identifier: GPL-2.0-only */
/* victim.h - the module to be rescued, and what the kernel remembers of its loading */
#ifndef FORCE_RMMOD_VICTIM_H
#define FORCE_RMMOD_VICTIM_H

#include <linux/module.h>
#include <linux/types.h>

#include "rescue.h"

struct kernfs_node;
struct task_struct;

/*
 * victim.c: the module. Found by name, with a reference that keeps it from
 * being freed until fr_victim_put(), if it has got as far as to have one.
 */
int fr_victim_resolve(void);
int fr_victim_find(struct fr_rescue *rescue, const char *name);
void fr_victim_put(struct fr_rescue *rescue);
int fr_victim_describe(struct fr_rescue *rescue);

/* Calls fn for every module, while none comes or goes, until it returns non-zero. */
int fr_victim_each(int (*fn)(struct module *mod, void *data), void *data);

/* What fr_victim_judge() found, if not a negative errno. */
enum fr_verdict {
	FR_SOUND,	/* init returned, nobody holds it, and it has its own exit */
	FR_HALF,	/* the same, but something of its is in the hands of the dead */
	FR_LEAKED,	/* init returned, and there are references: whose? */
	FR_STUCK,	/* init or exit died, or there is no exit */
};

int fr_victim_judge(struct fr_rescue *rescue);

/* Nobody gets hold of the victim until it is released, into a state, or reset. */
int fr_victim_quarantine(struct module *victim, int state, int refs);
void fr_victim_release(struct module *victim, int state);
int fr_victim_reset(struct module *victim, bool keep_exit);

/*
 * retire.c: renames the victim in place and leaves it GOING for ever; 0, or an errno,
 * and it is as before. Checked beforehand: 0, or -EBUSY if somebody may have a symbol
 * of it.
 */
int fr_retire_check(struct module *victim);
int fr_retire(struct module *victim);
bool fr_retire_is_ghost(const struct module *victim);

/* Whether an address that is perhaps NULL lies in the victim's memory. */
bool fr_victim_has(const struct module *victim, const void *address);

/* Whether a string stands in the victim's memory, from its beginning to its end. */
bool fr_victim_has_string(const struct module *victim, const char *string);

/* Whether the victim was there before what a node of sysfs, which may be NULL, stands for. */
bool fr_victim_precedes(const struct module *victim, const struct kernfs_node *node);

/*
 * words.c: the words of the victim's writable data, and those of its journal. Calls fn
 * for each until fn returns non-zero, and returns that.
 */
int fr_words_each(struct fr_rescue *rescue, fr_word_fn *fn, void *data);

/* The first that has a value, or NULL. */
unsigned long *fr_words_find(struct fr_rescue *rescue, unsigned long value);

/* Clears all that have a value which leads to what is no more: 0, or an errno. */
int fr_words_clear(struct fr_rescue *rescue, unsigned long value);

/* What a guarded call has registered, in order; guard/journal.c writes it. */
#define FR_JOURNAL_SIZE 128

struct fr_journal {
	unsigned int count;
	unsigned long objects[FR_JOURNAL_SIZE];	/* 0: removed */
	unsigned long words[FR_JOURNAL_SIZE];	/* what the victim may have kept of it, or 0 */
};

/* When an object was registered, larger for later; 0 if that is unknown. */
unsigned int fr_words_serial(const struct fr_rescue *rescue, const void *object);

/* loader.c: cut the entries of dead tasks out of finit_module()'s table. */
int fr_loader_resolve(void);
int fr_loader_repair(void);

/* Takes what current is loading out of the table: it does not come back from there. */
int fr_loader_leave(void);

/* async.c: asynchronous calls of the victim whose worker died; how many. */
int fr_async_repair(struct fr_rescue *rescue, bool apply);

/* Whether a task waits for asynchronous calls to be done; after fr_async_repair(). */
bool fr_async_awaits(const struct task_struct *task);

#endif
