// SPDX-License-Identifier: GPL-2.0-only
/*
 * socket.c - families of sockets, and their protocols
 *
 * Sockets that are open are holders.c's business: they keep both from going.
 */
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/rcupdate.h>

#include <net/sock.h>

#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* ---- families ---- */

static int fr_family_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	const struct module *victim = rescue->victim;
	const struct net_proto_family *const *families, *family;
	int i, ret = 0;

	families = fr_lookup("net_families", NPROTO * sizeof(*families));
	if (!families)
		return -EOPNOTSUPP;

	rcu_read_lock();
	for (i = 0; i < NPROTO && !ret; i++) {
		family = READ_ONCE(families[i]);
		if (family && (family->owner == victim || fr_victim_has(victim, family)))
			ret = fr_found(finds, (void *)family, 0, "number %d", family->family);
	}
	rcu_read_unlock();

	return ret;
}

static int fr_family_undo(struct fr_rescue *rescue, void *object)
{
	const struct net_proto_family *family = object;

	sock_unregister(family->family);
	return 0;
}

const struct fr_kind fr_kind_family = {
	.name = "family of sockets",
	.stage = FR_ENTRANCE,
	.find = fr_family_find,
	.undo = fr_family_undo,
};

/* ---- protocols ---- */

static int fr_protocol_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct list_head *list = fr_lookup("proto_list", sizeof(*list));
	struct mutex *lock = fr_lookup("proto_list_mutex", sizeof(*lock));
	struct proto *proto;
	int ret = 0;

	if (!list || !lock)
		return -EOPNOTSUPP;
	if (!fr_tasks_can_lock(lock, "proto_list_mutex"))
		return -EBUSY;

	mutex_lock(lock);
	list_for_each_entry(proto, list, node) {
		if (proto->owner != rescue->victim && !fr_victim_has(rescue->victim, proto))
			continue;
		ret = fr_found(finds, proto, 0, "%s", proto->name);
		if (ret)
			break;
	}
	mutex_unlock(lock);

	return ret;
}

static int fr_protocol_undo(struct fr_rescue *rescue, void *object)
{
	proto_unregister(object);
	return 0;
}

const struct fr_kind fr_kind_protocol = {
	.name = "protocol of sockets",
	.stage = FR_STORE,
	.find = fr_protocol_find,
	.undo = fr_protocol_undo,
};
