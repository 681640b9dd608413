// SPDX-License-Identifier: GPL-2.0-only
/*
 * devres.c - what devres will give back by itself
 *
 * When a driver leaves a device, all that it got with devm_ functions is given
 * back. Whoever did that before would do it twice.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

struct fr_devres_search {
	const struct module *victim;
	const unsigned long *words;
	size_t count;
	ssize_t offset;
	struct device *found;
};

static void fr_devres_nothing(struct device *dev, void *kept)
{
}

/* How far behind its node in the list of a device lies what is kept; tried out. */
static ssize_t fr_devres_offset(void)
{
	struct device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	void *kept = devres_alloc(fr_devres_nothing, sizeof(long), GFP_KERNEL);
	ssize_t offset = -ENOMEM;

	if (dev && kept) {
		spin_lock_init(&dev->devres_lock);
		INIT_LIST_HEAD(&dev->devres_head);
		devres_add(dev, kept);
		offset = kept - (void *)dev->devres_head.next;
		devres_remove(dev, fr_devres_nothing, NULL, NULL);
	}

	devres_free(kept);
	kfree(dev);
	return offset;
}

static bool fr_devres_has(const struct list_head *node, const struct fr_devres_search *search)
{
	unsigned long copy[FR_DEVRES_WORDS];
	size_t size = search->count * sizeof(*copy);

	return fr_peek(copy, (const char *)node + search->offset, size) &&
	       !memcmp(copy, search->words, size);
}

static int fr_devres_look(struct device *dev, void *data)
{
	struct fr_devres_search *search = data;
	struct list_head *node;
	unsigned long flags;

	if (!fr_victim_has(search->victim, dev->driver))
		return 0;

	spin_lock_irqsave(&dev->devres_lock, flags);
	list_for_each(node, &dev->devres_head) {
		if (!fr_devres_has(node, search))
			continue;
		search->found = get_device(dev);
		break;
	}
	spin_unlock_irqrestore(&dev->devres_lock, flags);

	return search->found ? 1 : 0;
}

struct device *fr_devres_find(const struct module *victim, const unsigned long *words,
			      size_t count)
{
	struct fr_devres_search search = { victim, words, min_t(size_t, count, FR_DEVRES_WORDS) };

	search.offset = fr_devres_offset();
	if (search.offset > 0)
		fr_devices_each(fr_devres_look, &search);
	return search.found;
}

void fr_devres_cover(struct device *dev, struct fr_extents *covered)
{
	struct list_head *node;
	unsigned long flags;

	spin_lock_irqsave(&dev->devres_lock, flags);
	list_for_each(node, &dev->devres_head)
		fr_extents_add_object(covered, node);
	spin_unlock_irqrestore(&dev->devres_lock, flags);
}

bool fr_devres_covers(struct device *dev, const void *object)
{
	struct list_head *node;
	bool found = false;
	unsigned long flags;

	spin_lock_irqsave(&dev->devres_lock, flags);
	list_for_each(node, &dev->devres_head)
		found |= (unsigned long)object - (unsigned long)node < ksize(node);
	spin_unlock_irqrestore(&dev->devres_lock, flags);

	return found;
}
