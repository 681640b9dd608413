// SPDX-License-Identifier: GPL-2.0-only
/* finds.c - what the rows have found */
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/slab.h>

#include "undo/finds.h"
#include "undo/undo.h"
#include "victim/victim.h"

int fr_found(struct fr_finds *finds, void *object, u64 order, const char *format, ...)
{
	struct fr_find *find;
	va_list args;

	find = kzalloc(sizeof(*find), GFP_ATOMIC);
	if (!find)
		return -ENOMEM;

	find->kind = finds->kind;
	find->object = object;
	find->order = order;
	find->serial = fr_words_serial(finds->rescue, object);
	va_start(args, format);
	vsnprintf(find->text, sizeof(find->text), format, args);
	va_end(args);

	list_add_tail(&find->list, &finds->list);
	return 0;
}

void fr_finds_forget(struct fr_finds *finds)
{
	struct fr_find *find, *next;

	list_for_each_entry_safe(find, next, &finds->list, list) {
		if (find->kind->put)
			find->kind->put(find->object);
		kfree(find);
	}
	INIT_LIST_HEAD(&finds->list);
}
