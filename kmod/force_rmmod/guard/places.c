// SPDX-License-Identifier: GPL-2.0-only
/* places.c - which modules are to be guarded, and which are */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "guard/guard.h"

static char *fr_guard_names;
module_param_named(guard, fr_guard_names, charp, 0444);
MODULE_PARM_DESC(guard, "modules whose init and exit are guarded: names with commas, or * for all");

struct fr_guarded fr_guarded[FR_PLACES];

static bool fr_guard_is_name(const char *word, size_t length, const char *name)
{
	size_t i;

	for (i = 0; i < length; i++)
		if (name[i] != (word[i] == '-' ? '_' : word[i]))
			return false;

	return !name[length];
}

bool fr_guard_wants(const struct module *mod)
{
	const char *word = fr_guard_names;
	size_t length;

	if (mod == THIS_MODULE)
		return false;

	for (;;) {
		length = strcspn(word, ",");
		if ((length == 1 && *word == '*') || fr_guard_is_name(word, length, mod->name))
			return true;
		if (!word[length])
			return false;
		word += length + 1;
	}
}

const char *fr_guard_wanted(void)
{
	return fr_guard_names && *fr_guard_names ? fr_guard_names : NULL;
}

unsigned int fr_guard_count(void)
{
	unsigned int i, count = 0;

	for (i = 0; i < FR_PLACES; i++)
		count += READ_ONCE(fr_guarded[i].mod) != NULL;

	return count;
}

struct fr_guarded *fr_guarded_find(const struct module *mod)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (fr_guarded[i].mod == mod)
			return &fr_guarded[i];

	return NULL;
}

struct fr_guarded *fr_guarded_add(struct module *mod)
{
	struct fr_guarded *guarded = fr_guarded_find(NULL);

	if (!guarded) {
		pr_warn("guard: %d modules are guarded, and %s is not\n", FR_PLACES, mod->name);
		return NULL;
	}

	*guarded = (struct fr_guarded){ .mod = mod };
	return guarded;
}

struct fr_guarded *fr_guarded_loading(void)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (READ_ONCE(fr_guarded[i].loader) == current)
			return &fr_guarded[i];

	return NULL;
}

/* A loader that died before init was called may have had the same address. */
void fr_guarded_forget(const struct task_struct *loader)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (fr_guarded[i].loader == loader)
			fr_guarded[i].loader = NULL;
}

bool fr_guarded_is_ours(const void *start)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (READ_ONCE(fr_guarded[i].params) == start)
			return true;

	return false;
}
