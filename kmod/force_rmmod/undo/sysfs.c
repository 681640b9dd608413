// SPDX-License-Identifier: GPL-2.0-only
/*
 * sysfs.c - attributes on objects of others, and objects without a kind
 *
 * An attribute is the victim's if it lies in its memory. Those of the victim's
 * own objects go with them; what counts is one below an object that was there
 * before the victim. If the folder of a named group is younger than the victim,
 * all of the group goes; otherwise only the file.
 *
 * Who died while reading or writing one holds it for ever, and whoever removes it waits
 * for that. What is held so is given back, if nobody living can be who holds it.
 */
#include <linux/kernel.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

#define FR_SYSFS_DEPTH 24

/* How often, and when, it is looked whether anybody living uses an attribute. */
#define FR_SYSFS_ROUNDS 10
#define FR_SYSFS_PAUSE_MS 10

struct fr_sysfs_walk {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
	int (*collect)(struct fr_sysfs_walk *walk, struct kernfs_node *folder,
		       struct kernfs_node *node);
};

static int fr_sysfs_walk_folder(struct fr_sysfs_walk *walk, struct kernfs_node *folder, int depth)
{
	struct kernfs_node *node;
	struct rb_node *rb;
	int ret;

	for (rb = rb_first(&folder->dir.children); rb; rb = rb_next(rb)) {
		node = rb_entry(rb, struct kernfs_node, rb);
		ret = walk->collect(walk, folder, node);
		/* Parameters and sections of the victim are the loader's business. */
		if (!ret && depth && kernfs_type(node) == KERNFS_DIR &&
		    node != walk->rescue->victim->mkobj.kobj.sd)
			ret = fr_sysfs_walk_folder(walk, node, depth - 1);
		if (ret)
			return ret;
	}

	return 0;
}

static bool fr_sysfs_is_known(struct kernfs_node *root)
{
	const struct list_head *lists[] = COMPAT_KERNFS_LISTS(root);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lists); i++)
		if (!fr_layout_is_listed(lists[i]))
			return false;

	return true;
}

static int fr_sysfs_walk_all(struct fr_sysfs_walk *walk)
{
	struct kernfs_node *root = compat_kernfs_parent(kernel_kobj->sd);
	struct mutex *lock = NULL;
	int ret;

	if (COMPAT_HAVE_KERNFS_MUTEX)
		lock = fr_lookup("kernfs_mutex", sizeof(*lock));
	if (!root || compat_kernfs_parent(root) || (COMPAT_HAVE_KERNFS_MUTEX && !lock))
		return -EOPNOTSUPP;
	if (!fr_sysfs_is_known(root))
		return fr_layout_unknown("kernfs_root");
	if (!fr_try(compat_kernfs_trylock(root, lock))) {
		pr_err("the lock of sysfs is taken\n");
		return -EBUSY;
	}
	ret = fr_sysfs_walk_folder(walk, root, FR_SYSFS_DEPTH);
	compat_kernfs_unlock(root, lock);

	return ret;
}

static void fr_sysfs_cover_nodes(struct kernfs_node *node, struct fr_extents *covered, int depth)
{
	struct rb_node *rb;

	fr_extents_add(covered, (unsigned long)&node->priv, (unsigned long)(&node->priv + 1));
	if (kernfs_type(node) != KERNFS_DIR || !depth)
		return;
	for (rb = rb_first(&node->dir.children); rb; rb = rb_next(rb))
		fr_sysfs_cover_nodes(rb_entry(rb, struct kernfs_node, rb), covered, depth - 1);
}

void fr_sysfs_cover(struct kobject *kobj, struct fr_extents *covered)
{
	struct kernfs_node *root = compat_kernfs_parent(kernel_kobj->sd);
	struct mutex *lock = NULL;

	if (COMPAT_HAVE_KERNFS_MUTEX)
		lock = fr_lookup("kernfs_mutex", sizeof(*lock));
	if (!kobj->sd || (COMPAT_HAVE_KERNFS_MUTEX && !lock) ||
	    !fr_try(compat_kernfs_trylock(root, lock)))
		return;

	fr_sysfs_cover_nodes(kobj->sd, covered, FR_SYSFS_DEPTH);
	compat_kernfs_unlock(root, lock);
}

/* ---- attributes ---- */

/* The folder of an object is the object's own, that of a named group is not. */
static struct kobject *fr_sysfs_object(const struct kernfs_node *folder, const char **group)
{
	struct kobject *kobj = folder->priv;

	*group = kobj && kobj->sd != folder ? folder->name : NULL;
	return kobj;
}

static int fr_sysfs_collect(struct fr_sysfs_walk *walk, struct kernfs_node *folder,
			    struct kernfs_node *node)
{
	struct kobject *kobj;
	const char *group;
	int ret;

	if (kernfs_type(node) != KERNFS_FILE || !fr_victim_has(walk->rescue->victim, node->priv))
		return 0;

	kobj = fr_sysfs_object(folder, &group);
	if (!kobj || !kobj->sd || fr_victim_precedes(walk->rescue->victim, kobj->sd))
		return 0;

	ret = fr_found(walk->finds, node, fr_devices_order(node), "%s%s%s of %s",
		       group ? group : "", group ? "/" : "", node->name, kobject_name(kobj));
	if (!ret)
		kernfs_get(node);

	return ret;
}

static int fr_sysfs_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_sysfs_walk walk = { rescue, finds, fr_sysfs_collect };

	return fr_sysfs_walk_all(&walk);
}

static bool fr_sysfs_is_binary(const struct kernfs_node *node)
{
	char name[32];

	snprintf(name, sizeof(name), "%ps", node->attr.ops);
	return !strncmp(name, "sysfs_bin_", 10);
}

/* For one that is binary and in a group there is no function that removes it. */
static int fr_sysfs_check(struct fr_rescue *rescue, void *object)
{
	struct kernfs_node *node = object;
	const char *group;

	fr_sysfs_object(compat_kernfs_parent(node), &group);
	return group && fr_sysfs_is_binary(node) ? -ENOTRECOVERABLE : 0;
}

static int fr_sysfs_undo(struct fr_rescue *rescue, void *object)
{
	static struct attribute *no_attributes[] = { NULL };
	struct kernfs_node *node = object, *folder = compat_kernfs_parent(node);
	struct attribute_group all = { .attrs = no_attributes };
	struct kobject *kobj;
	const char *group;

	kobj = fr_sysfs_object(folder, &group);
	if (fr_sysfs_is_binary(node)) {
		sysfs_remove_bin_file(kobj, node->priv);
	} else if (!group) {
		sysfs_remove_file(kobj, node->priv);
	} else if (fr_victim_precedes(rescue->victim, folder)) {
		all.name = group;
		sysfs_remove_group(kobj, &all);
	} else {
		sysfs_remove_file_from_group(kobj, node->priv, group);
	}

	return 0;
}

/* Its group, if it goes as a whole. */
static void fr_sysfs_cover_attribute(struct fr_rescue *rescue, void *object,
				     struct fr_extents *covered)
{
	struct kernfs_node *node = object;

	fr_extents_add(covered, (unsigned long)&node->priv, (unsigned long)(&node->priv + 1));
}

static void fr_sysfs_put(void *object)
{
	kernfs_put(object);
}

const struct fr_kind fr_kind_sysfs = {
	.name = "sysfs attribute",
	.stage = FR_ENTRANCE,
	.find = fr_sysfs_find,
	.check = fr_sysfs_check,
	.undo = fr_sysfs_undo,
	.cover = fr_sysfs_cover_attribute,
	.put = fr_sysfs_put,
};

/* ---- readers and writers that died ---- */

/* Who reads or writes an attribute holds it; taken away meanwhile, it counts from below. */
static int fr_reader_count(const struct kernfs_node *node)
{
	int active = atomic_read(&node->active);

	return active < 0 ? active - COMPAT_KERNFS_BIAS : active;
}

static int fr_reader_collect(struct fr_sysfs_walk *walk, struct kernfs_node *folder,
			     struct kernfs_node *node)
{
	int ret;

	if (kernfs_type(node) != KERNFS_FILE ||
	    !fr_victim_has(walk->rescue->victim, node->priv) || fr_reader_count(node) <= 0)
		return 0;

	ret = fr_found(walk->finds, node, node->id, "%s, %d times", node->name,
		       fr_reader_count(node));
	if (!ret)
		kernfs_get(node);

	return ret;
}

static int fr_reader_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_sysfs_walk walk = { rescue, finds, fr_reader_collect };

	return fr_sysfs_walk_all(&walk);
}

struct fr_reader {
	const struct module *victim;
	const struct kernfs_node *node;
};

/* Who is alive and holds it is in the victim's code, or about to call it or return from it. */
static bool fr_reader_is_there(unsigned long word, bool waiting, const void *data)
{
	const struct fr_reader *reader = data;

	return within_module_mem_type(word, reader->victim, MOD_TEXT) ||
	       word == (unsigned long)reader->node || word == (unsigned long)reader->node->priv;
}

static int fr_reader_check(struct fr_rescue *rescue, void *object)
{
	const struct fr_reader reader = { rescue->victim, object };
	const struct fr_stack_query query = { fr_reader_is_there, &reader };
	int round;

	for (round = 0; round < FR_SYSFS_ROUNDS; round++) {
		if (fr_reader_count(object) <= 0 || fr_tasks_count(&query, NULL) ||
		    fr_reader_count(object) <= 0) {
			pr_err("somebody living reads or writes %s\n", reader.node->name);
			return -EBUSY;
		}
		msleep(FR_SYSFS_PAUSE_MS);
	}

	return 0;
}

static int fr_reader_undo(struct fr_rescue *rescue, void *object)
{
	struct kernfs_node *node = object, *root = compat_kernfs_parent(kernel_kobj->sd);

	if (atomic_dec_return(&node->active) == COMPAT_KERNFS_BIAS)
		wake_up_all(compat_kernfs_waiters(root));
	return 0;
}

const struct fr_kind fr_kind_reader = {
	.name = "dead reader of sysfs attribute",
	.stage = FR_REPAIR,
	.find = fr_reader_find,
	.check = fr_reader_check,
	.undo = fr_reader_undo,
	.put = fr_sysfs_put,
};

/* ---- objects ---- */

static bool fr_kobject_is_dynamic(const struct kobject *kobj)
{
	char name[32];

	snprintf(name, sizeof(name), "%ps", kobj->ktype);
	return !strcmp(name, "dynamic_kobj_ktype");
}

static int fr_kobject_collect(struct fr_sysfs_walk *walk, struct kernfs_node *folder,
			      struct kernfs_node *node)
{
	struct kobject *kobj = node->priv;

	if (kernfs_type(node) != KERNFS_DIR || !kobj || kobj->sd != node ||
	    !fr_victim_precedes(walk->rescue->victim, node))
		return 0;

	if (!fr_victim_has(walk->rescue->victim, kobj->ktype) &&
	    !(fr_words_find(walk->rescue, (unsigned long)kobj) && fr_kobject_is_dynamic(kobj)))
		return 0;

	return fr_found(walk->finds, kobj, fr_devices_order(node), "%s", kobject_name(kobj));
}

static int fr_kobject_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_sysfs_walk walk = { rescue, finds, fr_kobject_collect };

	return fr_sysfs_walk_all(&walk);
}

/* Off sysfs at once, even if somebody else has a reference too. */
static int fr_kobject_undo(struct fr_rescue *rescue, void *object)
{
	kobject_del(object);
	kobject_put(object);
	return 0;
}

static void fr_kobject_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	fr_sysfs_cover(object, covered);
}

const struct fr_kind fr_kind_kobject = {
	.name = "object of sysfs",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_kobject_find,
	.undo = fr_kobject_undo,
	.cover = fr_kobject_cover,
};
