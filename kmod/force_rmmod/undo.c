// SPDX-License-Identifier: GPL-2.0-only
/*
 * undo.c - what a dead init leaves behind, one row a kind
 *
 * A row finds the objects of one kind and undoes them: objects that lie in the
 * victim's memory, or that a pointer in its .data or .bss leads to and that the
 * owning list confirms. Children stand before their parents. With apply false it
 * only looks, and may refuse, before anything has been touched.
 *
 * What no row finds, such as memory, or an object whose only pointer was on the
 * dead stack, stays behind.
 */
#include <linux/kernel.h>
#include <linux/module.h>

#include "force_rmmod.h"

struct fr_undo_row {
	const char *kind;
	int (*undo)(struct module *victim, bool apply);
};

static const struct fr_undo_row fr_undo_rows[] = {
	{ "input device", fr_undo_input },
	{ "platform device", fr_undo_platform },
};

int fr_undo(struct module *victim, bool apply)
{
	int ret, count = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_undo_rows); i++) {
		ret = fr_undo_rows[i].undo(victim, apply);
		if (ret < 0) {
			pr_err("refused: cannot undo every %s of %s\n",
			       fr_undo_rows[i].kind, victim->name);
			return ret;
		}
		count += ret;
	}

	if (apply && !count)
		pr_info("undo: nothing found of a known kind\n");

	return 0;
}
