// SPDX-License-Identifier: GPL-2.0-only
/*
 * net.c - families of generic netlink, and what is done for each network namespace
 *
 * A family's owner is the victim, or it lies in its memory. What the victim does for each
 * namespace is undone by code of its own, which is not called any more: what it has
 * made there is found as of its kind, or leads into it still.
 */
#include <linux/idr.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>

#include <net/genetlink.h>
#include <net/net_namespace.h>

#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* ---- families of generic netlink ---- */

static int fr_genl_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct idr *families = fr_lookup_maybe("genl_fam_idr", sizeof(*families));
	struct genl_family *family;
	int id, ret = 0;

	if (!families)
		return 0;

	rcu_read_lock();
	idr_for_each_entry(families, family, id) {
		if (family->module != rescue->victim && !fr_victim_has(rescue->victim, family))
			continue;
		ret = fr_found(finds, family, id, "%s", family->name);
		if (ret)
			break;
	}
	rcu_read_unlock();

	return ret;
}

static int fr_genl_check(struct fr_rescue *rescue, void *object)
{
	struct mutex *lock = fr_lookup("genl_mutex", sizeof(*lock));

	return lock && fr_tasks_can_lock(lock, "genl_mutex") ? 0 : -EBUSY;
}

static int fr_genl_undo(struct fr_rescue *rescue, void *object)
{
	return genl_unregister_family(object);
}

const struct fr_kind fr_kind_genl = {
	.name = "family of generic netlink",
	.stage = FR_ENTRANCE,
	.find = fr_genl_find,
	.check = fr_genl_check,
	.undo = fr_genl_undo,
};

/* ---- what is done for each namespace ---- */

static bool fr_pernet_is_of(const struct module *victim, const struct pernet_operations *ops)
{
	return fr_victim_has(victim, ops) || fr_victim_has(victim, ops->init);
}

static int fr_pernet_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup_maybe("pernet_list", sizeof(*list));
	struct rw_semaphore *lock = fr_lookup_maybe("pernet_ops_rwsem", sizeof(*lock));
	struct pernet_operations *ops;
	int ret = 0;

	if (!list || !lock)
		return 0;
	if (!fr_try(down_read_trylock(lock))) {
		pr_err("the lock pernet_ops_rwsem is taken\n");
		return -EBUSY;
	}
	list_for_each_entry(ops, list, list) {
		if (!fr_pernet_is_of(rescue->victim, ops))
			continue;
		ret = fr_found(finds, ops, 0, "%ps", ops);
		if (ret)
			break;
	}
	up_read(lock);

	return ret;
}

/* All functions but init stand between these two. */
static void fr_pernet_silence(struct pernet_operations *ops)
{
	unsigned long *word = (unsigned long *)&ops->pre_exit;

	for (; word < (unsigned long *)&ops->id; word++)
		WRITE_ONCE(*word, 0);
}

/* Devices and subsystems are on one list; the function for devices knows where both begin. */
static int fr_pernet_undo(struct fr_rescue *rescue, void *object)
{
	fr_pernet_silence(object);
	unregister_pernet_device(object);
	return 0;
}

const struct fr_kind fr_kind_pernet = {
	.name = "operations of network namespaces",
	.stage = FR_STORE,
	.find = fr_pernet_find,
	.undo = fr_pernet_undo,
};
