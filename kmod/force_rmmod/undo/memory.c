// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - slab caches, and ranges of addresses that are reserved
 *
 * A cache is the victim's if a pointer in the victim's data leads to it, it is on
 * the kernel's list, and its name is a string of the victim. One that the kernel
 * has merged with another has that one's name: it is left alone. If it is another's
 * that was merged with the victim's, or if there are objects in it still, it does not
 * go away; the victim's pointer does, so that nobody destroys it twice. The name of a
 * reserved range is no copy: it lies in the victim.
 */
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* The list's node lies this far into a cache at most, right behind the name. */
#define FR_CACHE_NODE_AT 256

struct fr_cache_walk {
	struct fr_finds *finds;
	struct list_head *list;
	size_t node_at;	/* how far into a cache its node in the list lies */
};

/* Where the name of a cache stands, given its node in the list. */
static const char **fr_cache_name(struct list_head *node)
{
	return (const char **)node - 1;
}

/* The first of all caches, at the end of the list, is that of caches. */
static bool fr_cache_is_known(const struct list_head *list)
{
	struct list_head *node;

	list_for_each(node, list)
		if (fr_layout_is_named(fr_cache_name(node), "kmem_cache"))
			return true;

	return false;
}

/* As one of the kernel's own caches, whose address is known, tells; 0: it does not. */
static size_t fr_cache_node_at(const struct list_head *list)
{
	unsigned long cache = (unsigned long)kmalloc_caches[0][KMALLOC_SHIFT_HIGH];
	struct list_head *node;

	list_for_each(node, list)
		if ((unsigned long)node - cache < FR_CACHE_NODE_AT)
			return (unsigned long)node - cache;

	return 0;
}

static bool fr_cache_is_listed(const struct list_head *list, const struct list_head *wanted)
{
	struct list_head *node;

	list_for_each(node, list)
		if (node == wanted)
			return true;

	return false;
}

static int fr_cache_word(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	struct fr_cache_walk *walk = data;
	struct list_head *node = (struct list_head *)(*word + walk->node_at);
	const char *name;

	if (!*word || !fr_cache_is_listed(walk->list, node))
		return 0;

	name = *fr_cache_name(node);
	if (!fr_victim_has_string(rescue->victim, name) || fr_words_find(rescue, *word) != word)
		return 0;

	return fr_found(walk->finds, (void *)*word, 0, "%s, kept in %ps", name, word);
}

static int fr_cache_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_cache_walk walk = { finds, fr_lookup("slab_caches", sizeof(*walk.list)) };
	struct mutex *lock = fr_lookup("slab_mutex", sizeof(*lock));
	int ret;

	if (!walk.list || !lock)
		return -EOPNOTSUPP;
	if (!fr_tasks_can_lock(lock, "slab_mutex"))
		return -EBUSY;

	mutex_lock(lock);
	walk.node_at = fr_cache_node_at(walk.list);
	ret = walk.node_at && fr_cache_is_known(walk.list) ?
		fr_words_each(rescue, fr_cache_word, &walk) :
		fr_layout_unknown("kmem_cache");
	mutex_unlock(lock);

	return ret;
}

static int fr_cache_undo(struct fr_rescue *rescue, void *object)
{
	kmem_cache_destroy(object);
	return fr_words_clear(rescue, (unsigned long)object);
}

const struct fr_kind fr_kind_cache = {
	.name = "slab cache",
	.stage = FR_STORE,
	.frees = true,
	.find = fr_cache_find,
	.undo = fr_cache_undo,
};

/* ---- ranges of addresses ---- */

/* The next one of the tree, parents before children; NULL after the last. */
static struct resource *fr_region_next(struct resource *region)
{
	if (region->child)
		return region->child;
	while (!region->sibling && region->parent)
		region = region->parent;

	return region->sibling;
}

static int fr_region_collect(const struct module *victim, struct fr_finds *finds,
			     struct resource *root)
{
	struct resource *region;
	u64 order = 0;
	int ret = 0;

	/* What stands inside another comes after it here, and goes before it. */
	for (region = root->child; region && !ret; region = fr_region_next(region)) {
		order++;
		if (fr_victim_has(victim, region->name) || fr_victim_has(victim, region))
			ret = fr_found(finds, region, order, "%s, %pR", region->name, region);
	}

	return ret;
}

static int fr_region_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	rwlock_t *lock = fr_lookup("resource_lock", sizeof(*lock));
	int ret;

	if (!lock)
		return -EOPNOTSUPP;

	read_lock(lock);
	ret = fr_region_collect(rescue->victim, finds, &iomem_resource);
	if (!ret)
		ret = fr_region_collect(rescue->victim, finds, &ioport_resource);
	read_unlock(lock);

	return ret;
}

/* What request_region() has made is freed, what the victim made itself is not. */
static int fr_region_undo(struct fr_rescue *rescue, void *object)
{
	struct resource *region = object;

	if (fr_victim_has(rescue->victim, region) || !(region->flags & IORESOURCE_BUSY))
		return release_resource(region);

	__release_region(region->parent, region->start, resource_size(region));
	return 0;
}

const struct fr_kind fr_kind_region = {
	.name = "memory region",
	.stage = FR_STORE,
	.find = fr_region_find,
	.undo = fr_region_undo,
};
