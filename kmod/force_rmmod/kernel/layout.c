// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout.c - whether the kernel's private structures are what compat.h says
 *
 * They are checked for by version: with a kernel newer than any that they were
 * compared with, only force goes on. And whoever reads one looks for something in
 * it that must be so, such as a pointer back at where it was reached from; if it
 * is not, the rescue is refused, and what was not understood is not touched.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/string.h>

#include "facts.h"
#include "kernel/kernel.h"

int fr_layout_check(bool force)
{
	if (COMPAT_KNOWN)
		return 0;

	pr_warn("this kernel is newer than %d.%d, the newest known; nobody has looked at its struct %s\n",
		COMPAT_NEWEST >> 16, COMPAT_NEWEST >> 8 & 255, COMPAT_PRIVATE);
	if (force) {
		pr_warn("force: taken for what they were\n");
		return 0;
	}

	fr_tell(FR_REFUSED, "this kernel is too new");
	return -EOPNOTSUPP;
}

int fr_layout_unknown(const char *structure)
{
	fr_tell(FR_REFUSED, "struct %s is not laid out as this module knows it", structure);
	return -EOPNOTSUPP;
}

bool fr_layout_is_word(const void *address, const void *value)
{
	const void *word;

	return fr_peek(&word, address, sizeof(word)) && word == value;
}

bool fr_layout_is_listed(const struct list_head *node)
{
	struct list_head copy;

	return fr_peek(&copy, node, sizeof(copy)) &&
	       fr_layout_is_word(&copy.next->prev, node) &&
	       fr_layout_is_word(&copy.prev->next, node);
}

bool fr_layout_is_string(const char *address, const char *expected)
{
	char copy[64];
	size_t size = strlen(expected) + 1;

	return size <= sizeof(copy) && fr_peek(copy, address, size) &&
	       !memcmp(copy, expected, size);
}

bool fr_layout_is_named(const char *const *pointer, const char *expected)
{
	const char *name;

	return fr_peek(&name, pointer, sizeof(name)) && fr_layout_is_string(name, expected);
}
