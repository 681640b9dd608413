// SPDX-License-Identifier: GPL-2.0-only
/*
 * registry.c - small lists and tables of the kernel on which modules enter themselves:
 * keys of sysrq, types of keys, states of processors, formats of programs
 *
 * An entry is the victim's if it lies in its memory or calls its code.
 */
#include <linux/binfmts.h>
#include <linux/cpuhotplug.h>
#include <linux/kernel.h>
#include <linux/key-type.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysrq.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* ---- keys of sysrq ---- */

static const char fr_sysrq_keys[] =
	"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

static const struct sysrq_key_op *const *fr_sysrq_table(void)
{
	return fr_lookup_maybe("sysrq_key_table", COMPAT_SYSRQ_KEYS * sizeof(void *));
}

static int fr_sysrq_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	const struct sysrq_key_op *const *table = fr_sysrq_table(), *entry;
	int i, ret = 0;

	for (i = 0; table && i < COMPAT_SYSRQ_KEYS && !ret; i++) {
		entry = READ_ONCE(table[i]);
		if (fr_victim_has(rescue->victim, entry) ||
		    (entry && fr_victim_has(rescue->victim, entry->handler)))
			ret = fr_found(finds, (void *)entry, 0, "%c", fr_sysrq_keys[i]);
	}

	return ret;
}

static int fr_sysrq_undo(struct fr_rescue *rescue, void *object)
{
	const struct sysrq_key_op *const *table = fr_sysrq_table();
	int i;

	for (i = 0; table && i < COMPAT_SYSRQ_KEYS; i++)
		if (READ_ONCE(table[i]) == object)
			return unregister_sysrq_key(fr_sysrq_keys[i], object);

	return -ENOENT;
}

const struct fr_kind fr_kind_sysrq = {
	.name = "key of sysrq",
	.stage = FR_ACTIVE,
	.find = fr_sysrq_find,
	.undo = fr_sysrq_undo,
};

/* ---- types of keys ---- */

static int fr_key_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup_maybe("key_types_list", sizeof(*list));
	struct rw_semaphore *lock = fr_lookup_maybe("key_types_sem", sizeof(*lock));
	struct key_type *type;
	int ret = 0;

	if (!list || !lock)
		return 0;
	if (!fr_try(down_read_trylock(lock))) {
		pr_err("the lock key_types_sem is taken\n");
		return -EBUSY;
	}
	list_for_each_entry(type, list, link) {
		if (!fr_victim_has(rescue->victim, type) &&
		    !fr_victim_has(rescue->victim, type->instantiate))
			continue;
		ret = fr_found(finds, type, 0, "%s", type->name);
		if (ret)
			break;
	}
	up_read(lock);

	return ret;
}

static int fr_key_undo(struct fr_rescue *rescue, void *object)
{
#ifdef CONFIG_KEYS
	unregister_key_type(object);
#endif
	return 0;
}

const struct fr_kind fr_kind_key = {
	.name = "type of keys",
	.stage = FR_ENTRANCE,
	.find = fr_key_find,
	.undo = fr_key_undo,
};

/* ---- what is done when processors come and go ---- */

/* Its first state, and one that every kernel has, tell whether that is what it looks like. */
static struct compat_cpuhp_step *fr_cpuhp_steps(void)
{
	struct compat_cpuhp_step *steps;

	steps = fr_lookup_maybe("cpuhp_hp_states", CPUHP_ONLINE * sizeof(*steps));
	if (!steps || !fr_layout_is_named(&steps[CPUHP_OFFLINE].name, "offline") ||
	    !fr_layout_is_named(&steps[CPUHP_CREATE_THREADS].name, "threads:prepare"))
		return NULL;

	return steps;
}

static int fr_cpuhp_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct compat_cpuhp_step *steps = fr_cpuhp_steps(), *step;
	int state, ret = 0;

	for (state = 0; steps && state < CPUHP_ONLINE && !ret; state++) {
		step = &steps[state];
		if (fr_victim_has(rescue->victim, step->startup) ||
		    fr_victim_has(rescue->victim, step->teardown))
			ret = fr_found(finds, step, state, "%s", step->name);
	}

	return ret;
}

static int fr_cpuhp_check(struct fr_rescue *rescue, void *object)
{
	struct mutex *lock = fr_lookup("cpuhp_state_mutex", sizeof(*lock));
	const struct compat_cpuhp_step *step = object;

	if (!lock || !fr_tasks_can_lock(lock, "cpuhp_state_mutex"))
		return -EBUSY;

	return step->multi_instance && !hlist_empty(&step->list) ? -ENOTRECOVERABLE : 0;
}

/* Without the calls: nothing of it is to run any more. */
static int fr_cpuhp_undo(struct fr_rescue *rescue, void *object)
{
	__cpuhp_remove_state((struct compat_cpuhp_step *)object - fr_cpuhp_steps(), false);
	return 0;
}

static void fr_cpuhp_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	unsigned long start = (unsigned long)__va(__pa(object));

	fr_extents_add(covered, start, start + sizeof(struct compat_cpuhp_step));
}

const struct fr_kind fr_kind_cpuhp = {
	.name = "state of processors",
	.stage = FR_ACTIVE,
	.find = fr_cpuhp_find,
	.check = fr_cpuhp_check,
	.undo = fr_cpuhp_undo,
	.cover = fr_cpuhp_cover,
};

/* ---- formats of programs ---- */

static bool fr_format_is_elf(const struct linux_binfmt *format)
{
	char name[32];

	snprintf(name, sizeof(name), "%ps", format->load_binary);
	return !strcmp(name, "load_elf_binary");
}

/* Others have a variable of that name as well: on the kernel's is that of ELF. */
static bool fr_format_is_list(const struct list_head *list)
{
	const struct list_head *node;
	int i = 0;

	for (node = list; fr_layout_is_listed(node) && i < 64; node = node->next, i++)
		if (i && node != list &&
		    fr_format_is_elf(list_entry(node, struct linux_binfmt, lh)))
			return true;

	return false;
}

static int fr_format_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup_maybe("formats", sizeof(*list));
	rwlock_t *lock = fr_lookup_maybe("binfmt_lock", sizeof(*lock));
	struct linux_binfmt *format;
	int ret = 0;

	if (!list || !lock || !fr_format_is_list(list))
		return 0;

	read_lock(lock);
	list_for_each_entry(format, list, lh) {
		if (!fr_victim_has(rescue->victim, format) &&
		    !fr_victim_has(rescue->victim, format->load_binary))
			continue;
		ret = fr_found(finds, format, 0, "calls %ps", format->load_binary);
		if (ret)
			break;
	}
	read_unlock(lock);

	return ret;
}

static int fr_format_undo(struct fr_rescue *rescue, void *object)
{
	unregister_binfmt(object);
	return 0;
}

const struct fr_kind fr_kind_format = {
	.name = "format of programs",
	.stage = FR_ENTRANCE,
	.find = fr_format_find,
	.undo = fr_format_undo,
};
