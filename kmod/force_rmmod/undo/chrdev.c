// SPDX-License-Identifier: GPL-2.0-only
/*
 * chrdev.c - character devices and the numbers reserved for them
 *
 * A character device is the victim's if it lies in its memory or its operations do; that
 * it names the victim as owner is not enough, as some belong to a device of a class (rtc,
 * watchdog), which takes them with it. A region of numbers does not: it is taken
 * for the victim's if its first number stands in the victim's data, its name is
 * a string of the victim, and no device of anybody else is in it.
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

static struct compat_kobj_map *fr_cdev_map;
static struct compat_char_device_struct **fr_chrdevs;
static struct mutex *fr_chrdevs_lock;

static int fr_chrdev_resolve(void)
{
	struct compat_kobj_map **map = fr_lookup("cdev_map", sizeof(*map));

	fr_chrdevs = fr_lookup("chrdevs", COMPAT_CHRDEV_BUCKETS * sizeof(*fr_chrdevs));
	fr_chrdevs_lock = fr_lookup("chrdevs_lock", sizeof(*fr_chrdevs_lock));
	if (!map || !fr_chrdevs || !fr_chrdevs_lock)
		return -EOPNOTSUPP;

	fr_cdev_map = *map;
	if (!fr_layout_is_word(&fr_cdev_map->lock, fr_chrdevs_lock))
		return fr_layout_unknown("kobj_map");

	return fr_tasks_can_lock(fr_chrdevs_lock, "chrdevs_lock") ? 0 : -EBUSY;
}

/* The next device, or NULL after the last one; *bucket is one more than where it stands. */
static struct cdev *fr_cdev_next(struct compat_probe **probe, unsigned int *bucket)
{
	for (;;) {
		*probe = *probe ? (*probe)->next : NULL;
		while (!*probe && *bucket < COMPAT_CHRDEV_BUCKETS)
			*probe = fr_cdev_map->probes[(*bucket)++];
		if (!*probe)
			return NULL;
		/* The one probe that covers all numbers stands for none. */
		if ((*probe)->lock && (*probe)->data)
			return (*probe)->data;
	}
}

static bool fr_cdev_is_of(const struct cdev *cdev, const struct module *victim)
{
	return fr_victim_has(victim, cdev) || fr_victim_has(victim, cdev->ops);
}

static int fr_cdev_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct compat_probe *probe = NULL;
	unsigned int bucket = 0;
	struct cdev *cdev;
	int ret;

	ret = fr_chrdev_resolve();
	if (ret)
		return ret;

	mutex_lock(fr_chrdevs_lock);
	while (!ret && (cdev = fr_cdev_next(&probe, &bucket))) {
		/* One that spans several majors stands there once for each. */
		if (bucket - 1 == MAJOR(cdev->dev) % COMPAT_CHRDEV_BUCKETS &&
		    fr_cdev_is_of(cdev, rescue->victim))
			ret = fr_found(finds, cdev, 0, "%u:%u, %u numbers", MAJOR(cdev->dev),
				       MINOR(cdev->dev), cdev->count);
	}
	mutex_unlock(fr_chrdevs_lock);

	return ret;
}

/* register_chrdev() ties a region to its device; they go together. */
static struct compat_char_device_struct *fr_cdev_region(const struct cdev *cdev)
{
	struct compat_char_device_struct *region;
	unsigned int i;

	for (i = 0; i < COMPAT_CHRDEV_BUCKETS; i++)
		for (region = fr_chrdevs[i]; region; region = region->next)
			if (region->cdev == cdev)
				return region;

	return NULL;
}

static int fr_cdev_undo(struct fr_rescue *rescue, void *object)
{
	struct compat_char_device_struct *region;

	mutex_lock(fr_chrdevs_lock);
	region = fr_cdev_region(object);
	mutex_unlock(fr_chrdevs_lock);

	if (region)
		__unregister_chrdev(region->major, region->baseminor, region->minorct,
				    region->name);
	else
		cdev_del(object);

	return 0;
}

static void fr_cdev_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct compat_probe *probe = NULL;
	unsigned int bucket = 0;
	struct cdev *cdev;

	mutex_lock(fr_chrdevs_lock);
	while ((cdev = fr_cdev_next(&probe, &bucket)))
		if (cdev == object)
			fr_extents_add_object(covered, probe);
	mutex_unlock(fr_chrdevs_lock);
}

const struct fr_kind fr_kind_cdev = {
	.name = "character device",
	.stage = FR_ENTRANCE,
	.find = fr_cdev_find,
	.undo = fr_cdev_undo,
	.cover = fr_cdev_cover,
};

/* ---- regions ---- */

static bool fr_chrdev_is_used(dev_t first, unsigned int count)
{
	struct compat_probe *probe = NULL;
	unsigned int bucket = 0;
	struct cdev *cdev;

	while ((cdev = fr_cdev_next(&probe, &bucket)))
		if (cdev->dev < first + count && first < cdev->dev + cdev->count)
			return true;

	return false;
}

static int fr_chrdev_has_number(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	const u32 *halves = (const u32 *)word;
	dev_t first = *(dev_t *)data;

	return halves[0] == first || halves[1] == first;
}

static int fr_chrdev_collect(struct fr_rescue *rescue, struct fr_finds *finds,
			     struct compat_char_device_struct *region)
{
	dev_t first = MKDEV(region->major, region->baseminor);

	if (!fr_words_each(rescue, fr_chrdev_has_number, &first) ||
	    !fr_victim_has_string(rescue->victim, region->name) ||
	    fr_chrdev_is_used(first, region->minorct))
		return 0;

	return fr_found(finds, region, 0, "%s, %u:%u, %d numbers", region->name, region->major,
			region->baseminor, region->minorct);
}

static int fr_chrdev_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct compat_char_device_struct *region;
	unsigned int i;
	int ret;

	ret = fr_chrdev_resolve();
	if (ret)
		return ret;

	mutex_lock(fr_chrdevs_lock);
	for (i = 0; !ret && i < COMPAT_CHRDEV_BUCKETS; i++)
		for (region = fr_chrdevs[i]; !ret && region; region = region->next)
			ret = region->major % COMPAT_CHRDEV_BUCKETS == i ?
				fr_chrdev_collect(rescue, finds, region) :
				fr_layout_unknown("char_device_struct");
	mutex_unlock(fr_chrdevs_lock);

	return ret;
}

static int fr_chrdev_undo(struct fr_rescue *rescue, void *object)
{
	struct compat_char_device_struct *region = object;

	unregister_chrdev_region(MKDEV(region->major, region->baseminor), region->minorct);
	return 0;
}

const struct fr_kind fr_kind_chrdev = {
	.name = "range of device numbers",
	.stage = FR_STORE,
	.find = fr_chrdev_find,
	.undo = fr_chrdev_undo,
};
