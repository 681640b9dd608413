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
#include <linux/slab.h>
#include <linux/string.h>

#include "force_rmmod.h"

static const struct fr_kind *const fr_kinds[] = {
	&fr_kind_half_probed,
	&fr_kind_timer,
	&fr_kind_hrtimer,
	&fr_kind_work,
	&fr_kind_thread,
	&fr_kind_irq,
	&fr_kind_kprobe,
	&fr_kind_tracepoint,
	&fr_kind_notifier,
	&fr_kind_proc,
	&fr_kind_sysctl,
	&fr_kind_debugfs,
	&fr_kind_sysfs,
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
	&fr_kind_workqueue,
	&fr_kind_cache,
	&fr_kind_region,
};

struct fr_find {
	struct list_head list;
	const struct fr_kind *kind;
	void *object;
	u64 order;
	unsigned int serial;	/* its place in the journal, or 0 */
	char text[112];
};

struct fr_finds {
	struct list_head list;
	const struct fr_kind *kind;	/* whose find is at work */
	bool quiet;			/* not a reason to refuse if it fails */
};

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
	find->serial = fr_journal_serial(object);
	va_start(args, format);
	vsnprintf(find->text, sizeof(find->text), format, args);
	va_end(args);

	list_add_tail(&find->list, &finds->list);
	return 0;
}

static void fr_undo_forget(struct fr_finds *finds)
{
	struct fr_find *find, *next;

	list_for_each_entry_safe(find, next, &finds->list, list) {
		if (find->kind->put)
			find->kind->put(find->object);
		kfree(find);
	}
	INIT_LIST_HEAD(&finds->list);
}

static int fr_undo_find(struct module *victim, enum fr_stage first, enum fr_stage last,
			struct fr_finds *finds)
{
	size_t i;
	int ret, refused = 0;

	for (i = 0; i < ARRAY_SIZE(fr_kinds); i++) {
		if (fr_kinds[i]->stage < first || fr_kinds[i]->stage > last)
			continue;
		finds->kind = fr_kinds[i];
		ret = fr_kinds[i]->find(victim, finds);
		if (ret < 0) {
			if (!finds->quiet)
				pr_err("refused: cannot undo every %s of %s\n", fr_kinds[i]->name,
				       victim->name);
			/* One reason is enough, unless all are to be told. */
			if (!fr_explain)
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

static struct fr_find *fr_undo_first(struct fr_finds *finds)
{
	struct fr_find *find, *best = NULL;

	list_for_each_entry(find, &finds->list, list)
		if (!best || fr_undo_is_before(find, best))
			best = find;

	return best;
}

DEFINE_MUTEX(fr_undo_lock);
char fr_undone[FR_UNDONE_SIZE];
bool fr_undo_repairs;

static int fr_undo_check(struct module *victim, const struct fr_find *find)
{
	return find->kind->check ? find->kind->check(victim, find->object) : 0;
}

static void fr_undo_remember(const struct fr_find *find)
{
	size_t used = strlen(fr_undone);

	snprintf(fr_undone + used, sizeof(fr_undone) - used, "%s%s %s", used ? ", " : "",
		 find->kind->name, find->text);
}

static int fr_undo_one(struct module *victim, struct fr_find *find)
{
	int ret;

	pr_info("undo: %s %s\n", find->kind->name, find->text);
	ret = fr_undo_check(victim, find);
	if (!ret)
		ret = find->kind->undo(victim, find->object);
	if (ret)
		pr_err("%s %s could not be undone: %d\n", find->kind->name, find->text, ret);
	else
		fr_undo_remember(find);

	return ret;
}

/* What was undone and is found again cannot be undone. */
static int fr_undo_all(struct module *victim, enum fr_stage last)
{
	struct fr_finds finds = { .list = LIST_HEAD_INIT(finds.list) };
	char text[sizeof_field(struct fr_find, text)] = "";
	const void *object = NULL;
	struct fr_find *find;
	int ret, count = 0;

	for (;;) {
		ret = fr_undo_find(victim, FR_REPAIR, last, &finds);
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
		ret = fr_undo_one(victim, find);
		if (ret)
			break;
		count++;
		fr_undo_forget(&finds);
	}

	fr_undo_forget(&finds);
	return ret ? ret : count;
}

static int fr_undo_agree(struct module *victim, const struct fr_find *find)
{
	int ret = fr_undo_check(victim, find);

	if (ret)
		pr_err("refused: %s %s cannot be undone\n", find->kind->name, find->text);

	return ret;
}

/* judge: whether one that cannot be undone is a reason to refuse. */
static int fr_undo_look(struct module *victim, enum fr_stage stage, bool judge)
{
	struct fr_finds finds = { .list = LIST_HEAD_INIT(finds.list), .quiet = !judge };
	struct fr_find *find;
	int ret, count = 0;

	ret = fr_undo_find(victim, stage, stage, &finds);
	list_for_each_entry(find, &finds.list, list) {
		if (fr_explain)
			pr_info("registered: %s: %s\n", find->kind->name, find->text);
		if (judge && (!ret || fr_explain))
			ret = fr_undo_agree(victim, find) ?: ret;
		count++;
	}

	fr_undo_forget(&finds);
	return ret && judge ? ret : count;
}

/* All that is registered, if it is to be told; otherwise as far as it would be undone. */
static int fr_undo_look_all(struct module *victim, enum fr_stage last)
{
	int stage, ret, refused = 0, count = 0;

	for (stage = 0; stage < FR_STAGES; stage++) {
		if (stage > last && !fr_explain)
			break;
		ret = fr_undo_look(victim, stage, stage <= last);
		if (ret < 0 && !fr_explain)
			return ret;
		if (ret < 0)
			refused = ret;
		else if (stage <= last)
			count += ret;
	}

	return refused ? refused : count;
}

int fr_undo(struct module *victim, bool apply, bool repairs_only)
{
	enum fr_stage last = repairs_only ? FR_REPAIR : FR_STAGES - 1;

	fr_undo_repairs = repairs_only;
	return apply ? fr_undo_all(victim, last) : fr_undo_look_all(victim, last);
}

static bool fr_undo_is_kept(struct module *victim, struct device *dev, const struct fr_find *find)
{
	unsigned long word = (unsigned long)find->object;
	struct device *keeper = NULL;

	if (find->kind == &fr_kind_netdev)
		keeper = fr_devres_find(victim, &word, 1);
	put_device(keeper);

	return keeper == dev || fr_devres_covers(dev, find->object);
}

bool fr_undo_needs_devres(struct module *victim, struct device *dev)
{
	struct fr_finds finds = { .list = LIST_HEAD_INIT(finds.list), .quiet = true };
	struct fr_find *find;
	bool needed = false;

	/* Some things are found in memory only. */
	if (!fr_scan_done())
		fr_scan(victim);

	fr_undo_find(victim, FR_ACTIVE, FR_OBJECT, &finds);
	list_for_each_entry(find, &finds.list, list) {
		if (!fr_undo_is_kept(victim, dev, find))
			continue;
		pr_err("%s %s: lies in what device %s keeps until it has no driver\n",
		       find->kind->name, find->text, dev_name(dev));
		needed = true;
	}

	fr_undo_forget(&finds);
	return needed;
}

void fr_undo_steps(struct module *victim, bool repairs_only)
{
	struct fr_finds finds = { .list = LIST_HEAD_INIT(finds.list), .quiet = true };
	struct fr_finds told = { .list = LIST_HEAD_INIT(told.list) };
	struct fr_find *find;

	fr_undo_find(victim, FR_REPAIR, repairs_only ? FR_REPAIR : FR_STAGES - 1, &finds);
	while ((find = fr_undo_first(&finds))) {
		pr_info("step: undo %s %s\n", find->kind->name, find->text);
		list_move(&find->list, &told.list);
	}
	fr_undo_forget(&told);
}
