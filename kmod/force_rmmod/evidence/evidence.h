/* SPDX-License-Identifier: GPL-2.0-only */
/* evidence.h - who holds the victim, what leads into it, and whether that is alive */
#ifndef FORCE_RMMOD_EVIDENCE_H
#define FORCE_RMMOD_EVIDENCE_H

#include <linux/module.h>
#include <linux/types.h>

struct device;

/*
 * references.c: tells which living tasks may return into the victim, and how many; of
 * those who only wait for asynchronous calls to be done, with but_waiters, none counts.
 */
int fr_references_tell(const struct module *victim, bool but_waiters);

/* Whether anybody living is in it, its own threads included. */
bool fr_references_inside(const struct module *victim);

/*
 * holders.c: tells which files, sockets, mappings and mounts lead into it, and how
 * many, or an errno.
 */
int fr_holders_tell(struct module *victim);

/* Both: 0, or -EBUSY if there is anybody; with force only if a task runs in it. */
int fr_holders_check(struct module *victim, bool but_waiters);

/*
 * scan.c: the words of memory that lead into the victim, remembered until they are
 * forgotten. Without the parameter scan nothing is searched, and nothing found.
 */
int fr_scan(struct module *victim);
void fr_scan_forget(void);
bool fr_scan_done(void);

/* Calls fn for each word that still does, by an address of the direct map, as above. */
int fr_scan_each(struct module *victim,
		 int (*fn)(struct module *victim, unsigned long *word, void *data), void *data);

/* proof.c: whether memory is somebody's variable, neither allocated nor the victim's. */
bool fr_proof_is_static(const struct module *victim, unsigned long address);

/* 0, or -EBUSY if one of them is certainly alive. Before the victim is freed. */
int fr_proof_check(struct module *victim);

/* The slab object that a word lies in, or false. */
struct fr_object {
	char cache[32];
	unsigned long start, size;
};

bool fr_proof_object(const unsigned long *at, struct fr_object *object);

/* Somebody's variable that a list leads to which the object is on, or 0. */
unsigned long fr_proof_object_anchor(const struct module *victim, const struct fr_object *object);

/* What the kernel knows of every module by itself: trace events, messages, parameters. */
bool fr_proof_is_described(unsigned long value);

/*
 * owners.c: 0, or -EBUSY if references that nobody is found to hold may be the
 * kernel's own, for something of the victim's that it uses.
 */
int fr_owners_check(struct module *victim);

/*
 * devres.c: a device with a driver of the victim's for which devres keeps something
 * that begins with these words; with a reference; or NULL.
 */
#define FR_DEVRES_WORDS 2
struct device *fr_devres_find(const struct module *victim, const unsigned long *words,
			      size_t count);

/* Whether an object lies in what devres keeps for a device. */
bool fr_devres_covers(struct device *dev, const void *object);

#endif
