// SPDX-License-Identifier: GPL-2.0-only
/*
 * kprobe.c - probes on code, and on tracepoints
 *
 * All kprobes stand in kprobe_table; several on one address hang below one that
 * the kernel made.
 */
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

static bool fr_kprobe_is_of(const struct kprobe *probe, const struct module *victim)
{
	return fr_victim_has(victim, probe) || fr_victim_has(victim, probe->pre_handler) ||
	       fr_victim_has(victim, probe->post_handler);
}

static int fr_kprobe_collect(const struct module *victim, struct fr_finds *finds,
			     struct kprobe *head)
{
	struct kprobe *probe;
	int ret;

	if (fr_kprobe_is_of(head, victim))
		return fr_found(finds, head, 0, "%ps, on %pS", head, head->addr);

	list_for_each_entry(probe, &head->list, list) {
		if (!fr_kprobe_is_of(probe, victim))
			continue;
		ret = fr_found(finds, probe, 0, "%ps, on %pS", probe, probe->addr);
		if (ret)
			return ret;
	}

	return 0;
}

static int fr_kprobe_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct hlist_head *table;
	struct kprobe *head;
	struct mutex *lock;
	int i, ret = 0;

	if (!IS_ENABLED(CONFIG_KPROBES))
		return 0;

	table = fr_lookup("kprobe_table", COMPAT_KPROBE_BUCKETS * sizeof(*table));
	lock = fr_lookup("kprobe_mutex", sizeof(*lock));
	if (!table || !lock)
		return -EOPNOTSUPP;
	if (!fr_tasks_can_lock(lock, "kprobe_mutex"))
		return -EBUSY;

	mutex_lock(lock);
	for (i = 0; i < COMPAT_KPROBE_BUCKETS && !ret; i++) {
		hlist_for_each_entry(head, &table[i], hlist) {
			ret = hash_ptr(head->addr, COMPAT_KPROBE_HASH_BITS) == i ?
				fr_kprobe_collect(rescue->victim, finds, head) :
				fr_layout_unknown("hlist_head kprobe_table[]");
			if (ret)
				break;
		}
	}
	mutex_unlock(lock);

	return ret;
}

/* The probe inside a kretprobe has a handler of the kernel's own. */
static int fr_kprobe_undo(struct fr_rescue *rescue, void *object)
{
	struct kprobe *probe = object;
	char name[32];

	snprintf(name, sizeof(name), "%ps", probe->pre_handler);
	if (!strcmp(name, "pre_handler_kretprobe"))
		unregister_kretprobe(container_of(probe, struct kretprobe, kp));
	else
		unregister_kprobe(probe);

	return 0;
}

const struct fr_kind fr_kind_kprobe = {
	.name = "kprobe",
	.stage = FR_ACTIVE,
	.find = fr_kprobe_find,
	.undo = fr_kprobe_undo,
};

/* ---- tracepoints ---- */

struct fr_tracepoint {
	struct tracepoint *tp;
	void *func;
	void *data;
};

struct fr_tracepoint_walk {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
	int ret;
};

static int fr_tracepoint_add(struct fr_tracepoint_walk *walk, struct tracepoint *tp,
			     const struct tracepoint_func *func)
{
	struct fr_tracepoint *found = kmalloc(sizeof(*found), GFP_ATOMIC);
	int ret;

	if (!found)
		return -ENOMEM;

	*found = (struct fr_tracepoint){ tp, func->func, func->data };
	ret = fr_found(walk->finds, found, 0, "%ps, on %s", func->func, tp->name);
	if (ret)
		kfree(found);

	return ret;
}

static void fr_tracepoint_collect(struct tracepoint *tp, void *data)
{
	struct fr_tracepoint_walk *walk = data;
	struct tracepoint_func *func;

	rcu_read_lock();
	func = rcu_dereference_raw(tp->funcs);
	for (; func && func->func && !walk->ret; func++)
		if (fr_victim_has(walk->rescue->victim, func->func))
			walk->ret = fr_tracepoint_add(walk, tp, func);
	rcu_read_unlock();
}

/* Tracepoints of the modules; one that is not set up yet has none. */
static int fr_tracepoint_of_module(struct module *mod, void *data)
{
#ifdef CONFIG_TRACEPOINTS
	struct fr_tracepoint_walk *walk = data;
	unsigned int i;

	if (mod == walk->rescue->victim || mod->state == MODULE_STATE_UNFORMED)
		return 0;
	for (i = 0; i < mod->num_tracepoints; i++)
		fr_tracepoint_collect(tracepoint_ptr_deref(&mod->tracepoints_ptrs[i]), walk);

	return walk->ret;
#else
	return 0;
#endif
}

static int fr_tracepoint_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_tracepoint_walk walk = { rescue, finds, 0 };

	for_each_kernel_tracepoint(fr_tracepoint_collect, &walk);
	return walk.ret ? walk.ret : fr_victim_each(fr_tracepoint_of_module, &walk);
}

static int fr_tracepoint_undo(struct fr_rescue *rescue, void *object)
{
	struct fr_tracepoint *found = object;
	int ret;

	ret = tracepoint_probe_unregister(found->tp, found->func, found->data);
	tracepoint_synchronize_unregister();
	return ret;
}

/* The list of probes, and the call that the tracepoint makes if there is only one. */
static void fr_tracepoint_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct tracepoint *tp = ((struct fr_tracepoint *)object)->tp;
#ifdef CONFIG_HAVE_STATIC_CALL
	unsigned long call = (unsigned long)__va(__pa_symbol(tp->static_call_key));

	if (!compat_is_module_address(tp->static_call_key))
		fr_extents_add(covered, call, call + sizeof(*tp->static_call_key));
#endif
	fr_extents_add_object(covered, READ_ONCE(tp->funcs));
}

static void fr_tracepoint_put(void *object)
{
	kfree(object);
}

const struct fr_kind fr_kind_tracepoint = {
	.name = "tracepoint probe",
	.stage = FR_ACTIVE,
	.find = fr_tracepoint_find,
	.undo = fr_tracepoint_undo,
	.cover = fr_tracepoint_cover,
	.put = fr_tracepoint_put,
};
