// SPDX-License-Identifier: GPL-2.0-only
/* extents.c - pieces of memory, in order, so that an address is soon found in them */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sort.h>

#include "evidence/world.h"

void fr_extents_add(struct fr_extents *extents, unsigned long start, unsigned long end)
{
	if (extents->count == extents->limit) {
		extents->full = true;
		return;
	}

	extents->list[extents->count++] = (struct fr_extent){ start, end };
}

static int fr_extents_compare(const void *left, const void *right)
{
	const struct fr_extent *a = left, *b = right;

	return a->start < b->start ? -1 : a->start > b->start;
}

void fr_extents_sort(struct fr_extents *extents)
{
	size_t from, to = 0;

	sort(extents->list, extents->count, sizeof(*extents->list), fr_extents_compare, NULL);
	for (from = 0; from < extents->count; from++) {
		if (to && extents->list[from].start < extents->list[to - 1].end)
			extents->list[to - 1].end = max(extents->list[to - 1].end,
							extents->list[from].end);
		else
			extents->list[to++] = extents->list[from];
	}
	extents->count = to;
}

const struct fr_extent *fr_extents_find(const struct fr_extents *extents, unsigned long address)
{
	size_t low = 0, high = extents->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (extents->list[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < extents->count && extents->list[low].start <= address)
		return &extents->list[low];

	return NULL;
}

void fr_extents_add_object(struct fr_extents *extents, const void *address)
{
	struct fr_slab slab;
	struct page *page;

	if (!address || compat_is_module_address(address) || !virt_addr_valid(address))
		return;

	page = compound_head(virt_to_page(address));
	if (fr_slab_find(address, &slab))
		fr_extents_add(extents, slab.start, slab.start + slab.size);
	else if (PageCompound(page))
		fr_extents_add(extents, (unsigned long)page_address(page),
			       (unsigned long)page_address(page) + page_size(page));
}
