/* SPDX-License-Identifier: GPL-2.0-only */
/* finds.h - what the rows have found; for finds.c and undo.c only */
#ifndef FORCE_RMMOD_FINDS_H
#define FORCE_RMMOD_FINDS_H

#include <linux/list.h>

#include "undo/undo.h"

struct fr_find {
	struct list_head list;
	const struct fr_kind *kind;
	void *object;
	u64 order;
	unsigned int serial;	/* its place in the journal, or 0 */
	char text[112];
};

struct fr_finds {
	struct fr_rescue *rescue;
	struct list_head list;
	const struct fr_kind *kind;	/* whose find is at work */
	bool quiet;			/* not a reason to refuse if it fails */
};

void fr_finds_forget(struct fr_finds *finds);

#endif
