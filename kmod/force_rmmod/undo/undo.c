// SPDX-License-Identifier: GPL-2.0-only
/*
 * undo.c - what a dead init leaves behind, one row a kind
 *
 * A row finds the objects of one kind: objects that lie in the victim's memory,
 * whose owner it is, or whose callbacks are its code, on the kernel's own lists;
 * or that a pointer in its .data or .bss leads to and that the list confirms.
 * Without apply it only looks, and checks what it found, and may refuse, before
 * anything has been touched.
 *
 * They are undone one at a time, and looked for anew after each, since one may
 * take others with it. The stages order kinds; within a stage the object that
 * was registered last goes first, where that is known. Under the guard it is known
 * of most objects, whatever their stage.
 *
 * What no row finds, such as memory, or an object whose only pointer was on the
 * dead stack, stays behind.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "facts.h"
#include "undo/finds.h"
#include "undo/undo.h"
#include "victim/victim.h"

static const struct fr_kind *const fr_kinds[] = {
	&fr_kind_reader,
	&fr_kind_half_probed,
	&fr_kind_timer,
	&fr_kind_hrtimer,
	&fr_kind_work,
	&fr_kind_thread,
	&fr_kind_irq,
	&fr_kind_kprobe,
	&fr_kind_tracepoint,
	&fr_kind_notifier,
	&fr_kind_packet,
	&fr_kind_hook,
	&fr_kind_inet,
	&fr_kind_sysrq,
	&fr_kind_cpuhp,
	&fr_kind_proc,
	&fr_kind_sysctl,
	&fr_kind_debugfs,
	&fr_kind_sysfs,
	&fr_kind_genl,
	&fr_kind_key,
	&fr_kind_format,
	&fr_kind_filesystem,
	&fr_kind_misc,
	&fr_kind_cdev,
	&fr_kind_family,
	&fr_kind_netdev,
	&fr_kind_input,
	&fr_kind_input_allocated,
	&fr_kind_driver,
	&fr_kind_platform,
	&fr_kind_device,
	&fr_kind_class,
	&fr_kind_kobject,
	&fr_kind_chrdev,
	&fr_kind_protocol,
	&fr_kind_pernet,
	&fr_kind_workqueue,
	&fr_kind_cache,
	&fr_kind_region,
};

static int fr_undo_find(struct fr_rescue *rescue, enum fr_stage first, enum fr_stage last,
			struct fr_finds *finds)
{
	size_t i;
	int ret, refused = 0;

	for (i = 0; i < ARRAY_SIZE(fr_kinds); i++) {
		if (fr_kinds[i]->stage < first || fr_kinds[i]->stage > last ||
		    (rescue->stays && fr_kinds[i]->frees))
			continue;
		finds->kind = fr_kinds[i];
		ret = fr_kinds[i]->find(rescue, finds);
		if (ret < 0) {
			if (!finds->quiet)
				fr_tell(FR_REFUSED, "cannot undo every %s of %s", fr_kinds[i]->name,
				       rescue->victim->name);
			/* One reason is enough, unless all are to be told. */
			if (!rescue->options.explain)
				return ret;
			refused = ret;
		}
	}

	return refused;
}

/*
 * What the journal knows goes in the order of the journal: after what else runs by
 * itself or is called from outside, before what else there is.
 */
static int fr_undo_turn(const struct fr_find *find)
{
	enum fr_stage stage = find->kind->stage;

	if (find->serial && stage != FR_REPAIR)
		return FR_OBJECT;

	return stage < FR_OBJECT ? stage : stage + 1;
}

static bool fr_undo_is_before(const struct fr_find *one, const struct fr_find *other)
{
	int turn = fr_undo_turn(one), other_turn = fr_undo_turn(other);

	if (turn != other_turn)
		return turn < other_turn;
	if (one->serial != other->serial)
		return one->serial > other->serial;

	return one->order > other->order;
}

/* What nobody can undo, because who was about to died in the middle. */
static bool fr_undo_stays(const struct fr_rescue *rescue, const struct fr_find *find)
{
	size_t i;

	for (i = 0; i < rescue->kept_count; i++)
		if (rescue->kept[i] == find->object)
			return true;

	return false;
}

static struct fr_find *fr_undo_first(struct fr_finds *finds)
{
	struct fr_find *find, *best = NULL;

	list_for_each_entry(find, &finds->list, list)
		if (!fr_undo_stays(finds->rescue, find) &&
		    (!best || fr_undo_is_before(find, best)))
			best = find;

	return best;
}

DEFINE_MUTEX(fr_undo_lock);

static bool fr_undo_is_kept(const struct module *victim, struct device *dev,
			    const struct fr_find *find)
{
	unsigned long word = (unsigned long)find->object;
	struct device *keeper = NULL;

	if (find->kind == &fr_kind_netdev)
		keeper = fr_devres_find(victim, &word, 1);
	put_device(keeper);

	return keeper == dev || fr_devres_covers(dev, find->object);
}

/* Whether something registered would be lost if devres gave back what it keeps for a device. */
static bool fr_undo_needs_devres(struct fr_rescue *rescue, struct device *dev)
{
	struct fr_finds finds = {
		.rescue = rescue, .list = LIST_HEAD_INIT(finds.list), .quiet = true,
	};
	struct fr_find *find;
	bool needed = false;

	/* Some things are found in memory only. */
	if (!fr_scan_done(rescue))
		fr_scan(rescue);

	fr_undo_find(rescue, FR_ACTIVE, FR_OBJECT, &finds);
	list_for_each_entry(find, &finds.list, list) {
		if (!fr_undo_is_kept(rescue->victim, dev, find))
			continue;
		pr_err("%s %s: lies in what device %s keeps until it has no driver\n",
		       find->kind->name, find->text, dev_name(dev));
		needed = true;
	}

	fr_finds_forget(&finds);
	return needed;
}

static int fr_undo_check(struct fr_rescue *rescue, const struct fr_find *find)
{
	const struct fr_kind *kind = find->kind;
	int ret = kind->check ? kind->check(rescue, find->object) : 0;

	if (!ret && rescue->repairs_only && kind->unbinds &&
	    fr_undo_needs_devres(rescue, kind->unbinds(find->object)))
		return -EBUSY;

	return ret;
}

static void fr_undo_remember(struct fr_rescue *rescue, const struct fr_find *find)
{
	size_t used = strlen(rescue->undone);

	snprintf(rescue->undone + used, sizeof(rescue->undone) - used, "%s%s %s",
		 used ? ", " : "", find->kind->name, find->text);
}

static int fr_undo_one(struct fr_rescue *rescue, struct fr_find *find)
{
	int ret;

	fr_tell(FR_UNDO, "%s %s", find->kind->name, find->text);
	ret = fr_undo_check(rescue, find);
	if (!ret)
		ret = find->kind->undo(rescue, find->object);
	if (ret)
		pr_err("%s %s could not be undone: %d\n", find->kind->name, find->text, ret);
	else
		fr_undo_remember(rescue, find);

	return ret;
}

/* What was undone and is found again cannot be undone. */
static int fr_undo_all(struct fr_rescue *rescue, enum fr_stage last)
{
	struct fr_finds finds = { .rescue = rescue, .list = LIST_HEAD_INIT(finds.list) };
	char text[sizeof_field(struct fr_find, text)] = "";
	const void *object = NULL;
	struct fr_find *find;
	int ret, count = 0;

	for (;;) {
		ret = fr_undo_find(rescue, FR_REPAIR, last, &finds);
		if (ret)
			break;
		find = fr_undo_first(&finds);
		if (!find)
			break;
		if (find->object == object && !strcmp(find->text, text)) {
			pr_err("%s %s does not go away\n", find->kind->name, find->text);
			ret = -EIO;
			break;
		}
		object = find->object;
		strscpy(text, find->text, sizeof(text));
		ret = fr_undo_one(rescue, find);
		if (ret)
			break;
		count++;
		fr_finds_forget(&finds);
	}

	fr_finds_forget(&finds);
	return ret ? ret : count;
}

static int fr_undo_agree(struct fr_rescue *rescue, const struct fr_find *find)
{
	int ret = fr_undo_check(rescue, find);

	if (ret == -ENOTRECOVERABLE && !rescue->repairs_only && rescue->kept_count < FR_KEPT) {
		pr_warn("stays: %s %s cannot be undone\n", find->kind->name, find->text);
		rescue->kept[rescue->kept_count++] = find->object;
		return 0;
	}
	if (ret)
		fr_tell(FR_REFUSED, "%s %s cannot be undone", find->kind->name, find->text);

	return ret;
}

/* judge: whether one that cannot be undone is a reason to refuse. */
static int fr_undo_look(struct fr_rescue *rescue, enum fr_stage stage, bool judge)
{
	struct fr_finds finds = {
		.rescue = rescue, .list = LIST_HEAD_INIT(finds.list), .quiet = !judge,
	};
	struct fr_find *find;
	int ret, count = 0;

	ret = fr_undo_find(rescue, stage, stage, &finds);
	list_for_each_entry(find, &finds.list, list) {
		if (rescue->options.explain)
			fr_tell_registered(find->kind->name, find->text);
		if (judge && (!ret || rescue->options.explain))
			ret = fr_undo_agree(rescue, find) ?: ret;
		count++;
	}

	fr_finds_forget(&finds);
	return ret && judge ? ret : count;
}

/* All that is registered, if it is to be told; otherwise as far as it would be undone. */
static int fr_undo_look_all(struct fr_rescue *rescue, enum fr_stage last)
{
	int stage, ret, refused = 0, count = 0;

	for (stage = 0; stage < FR_STAGES; stage++) {
		if (stage > last && !rescue->options.explain)
			break;
		ret = fr_undo_look(rescue, stage, stage <= last);
		if (ret < 0 && !rescue->options.explain)
			return ret;
		if (ret < 0)
			refused = ret;
		else if (stage <= last)
			count += ret;
	}

	return refused ? refused : count;
}

static enum fr_stage fr_undo_last(const struct fr_rescue *rescue)
{
	return rescue->repairs_only ? FR_REPAIR : FR_STAGES - 1;
}

int fr_undo(struct fr_rescue *rescue, bool apply)
{
	enum fr_stage last = fr_undo_last(rescue);

	return apply ? fr_undo_all(rescue, last) : fr_undo_look_all(rescue, last);
}

void fr_undo_steps(struct fr_rescue *rescue)
{
	struct fr_finds finds = {
		.rescue = rescue, .list = LIST_HEAD_INIT(finds.list), .quiet = true,
	};
	struct fr_finds told = { .rescue = rescue, .list = LIST_HEAD_INIT(told.list) };
	struct fr_find *find;

	fr_undo_find(rescue, FR_REPAIR, fr_undo_last(rescue), &finds);
	while ((find = fr_undo_first(&finds))) {
		fr_tell(FR_STEP, "undo %s %s", find->kind->name, find->text);
		list_move(&find->list, &told.list);
	}
	fr_finds_forget(&finds);
	fr_finds_forget(&told);
}

/*
 * What undoing takes away: the object, if it was allocated, else the victim's variable
 * that it lies in, and what more its row knows of.
 */
static void fr_undo_cover_one(struct fr_rescue *rescue, const struct fr_find *find,
			      struct fr_extents *covered)
{
	unsigned long start, size;

	if (!fr_victim_has(rescue->victim, find->object))
		fr_extents_add_object(covered, find->object);
	else if (fr_owners_variable_at(rescue->victim, (unsigned long)find->object, &start,
				       &size))
		fr_extents_add(covered, start, start + size);
	if (find->kind->cover)
		find->kind->cover(rescue, find->object, covered);
}

void fr_undo_cover(struct fr_rescue *rescue, struct fr_extents *covered)
{
	struct fr_finds finds = {
		.rescue = rescue, .list = LIST_HEAD_INIT(finds.list), .quiet = true,
	};
	struct fr_find *find;

	fr_undo_find(rescue, FR_REPAIR, FR_STAGES - 1, &finds);
	list_for_each_entry(find, &finds.list, list)
		if (!fr_undo_stays(rescue, find))
			fr_undo_cover_one(rescue, find, covered);
	fr_finds_forget(&finds);
}

void fr_undo_tell_kept(struct fr_rescue *rescue)
{
	struct fr_finds finds = {
		.rescue = rescue, .list = LIST_HEAD_INIT(finds.list), .quiet = true,
	};
	struct fr_find *find;

	rescue->stays = false;
	fr_undo_find(rescue, FR_REPAIR, FR_STAGES - 1, &finds);
	list_for_each_entry(find, &finds.list, list) {
		pr_warn("%s keeps: %s %s\n", rescue->victim->name, find->kind->name, find->text);
		if (find->kind->rename)
			find->kind->rename(find->object);
	}
	fr_finds_forget(&finds);
}
