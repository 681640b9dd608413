/* SPDX-License-Identifier: GPL-2.0-only */
/* world.h - what the parts of the closed-world proof offer each other */
#ifndef FORCE_RMMOD_WORLD_H
#define FORCE_RMMOD_WORLD_H

#include <linux/types.h>

struct fr_rescue;
struct kmem_cache;
struct module;
struct page;

/* From start up to, but without, end. */
struct fr_extent {
	unsigned long start, end;
};

struct fr_extents {
	struct fr_extent *list;	/* after fr_extents_sort() by start, none overlaps another */
	size_t count, limit;
	bool full;		/* one did not fit */
};

/* Where else a page is mapped, page by page; 0: nowhere. */
struct fr_alias {
	unsigned long frame, address;
};

#define FR_WORLD_OWN 1024
#define FR_WORLD_PLACES 32768
#define FR_WORLD_WORDS 65536
#define FR_WORLD_ALIASES 8192
#define FR_WORLD_SHRUNK 16

struct fr_world {
	struct fr_rescue *rescue;
	struct module *victim;		/* its */
	/* The victim's memory, and objects that nothing else is known to lead to. */
	struct fr_extents own;
	/* More such objects, found in this round. */
	struct fr_extents fresh;
	/* All of them. */
	struct fr_extents objects;
	/* What the rows of undo.c are going to undo. */
	struct fr_extents covered;
	/* Words of the direct map that owners which were walked to keep about the victim. */
	struct fr_extents places;
	unsigned long **words;
	size_t count;
	struct fr_alias *aliases;
	size_t alias_count;
	bool slabs_known, can_shrink;
	bool told;		/* what is alive is for people to read */
	struct kmem_cache *shrunk[FR_WORLD_SHRUNK];
	unsigned int shrinks;
	unsigned int explained, alive;
};

/* extents.c */
void fr_extents_add(struct fr_extents *extents, unsigned long start, unsigned long end);
/* All of an allocation, given an address in it. */
void fr_extents_add_object(struct fr_extents *extents, const void *address);
void fr_extents_sort(struct fr_extents *extents);
const struct fr_extent *fr_extents_find(const struct fr_extents *extents, unsigned long address);

/* places.c: walks the owners; false if that could not be done to the end. */
bool fr_places(struct fr_world *world);

/* memory.c: an object on a slab. */
struct fr_slab {
	struct page *page;		/* the first one of the slab */
	struct kmem_cache *cache;
	unsigned long start, size;
	char name[32];
};

/* Whether free and allocated objects can be told from each other on this kernel. */
bool fr_slab_is_known(void);
/* Whether every processor's worker answers, for which kmem_cache_shrink() waits. */
bool fr_slab_can_shrink(void);
bool fr_slab_find(const void *at, struct fr_slab *slab);
bool fr_slab_is_free(const struct fr_slab *slab);
/* Whether an object is one of the allocator's own lists of free objects of a cache. */
bool fr_slab_is_sheaf(const struct fr_slab *slab, struct kmem_cache *cache);

bool fr_page_is_free(struct page *page);

/* Fills in the addresses of an array that is sorted by frame. */
void fr_alias_fill(struct fr_alias *aliases, size_t count);

/* Whether an address where memory is mapped page by page lies in a stack that no task has. */
bool fr_stack_is_dead(unsigned long address);

/* Where the stack for interrupts of a processor is; false if that is not mapped like that. */
bool fr_stack_of_interrupts(int cpu, struct fr_extent *area);

/* What is mapped around such an address; false if it has no end within reason. */
bool fr_area_find(unsigned long address, struct fr_extent *area);

#endif
