// SPDX-License-Identifier: GPL-2.0-only
/*
 * packet.c - who sees packets: handlers, hooks of netfilter, protocols above IP
 *
 * Each is the victim's if it lies in its memory or calls its code. Lists are read under
 * RCU, as the kernel does for every packet.
 */
#include <linux/if_ether.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>

#include <net/net_namespace.h>
#include <net/protocol.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/finds.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* ---- handlers of a protocol below IP, or of all ---- */

static int fr_packet_walk(const struct module *victim, struct fr_finds *finds,
			  const struct list_head *head)
{
	struct packet_type *handler;
	int ret = 0;

	if (!head)
		return 0;
	list_for_each_entry_rcu(handler, head, list) {
		if (!fr_victim_has(victim, handler) && !fr_victim_has(victim, handler->func))
			continue;
		ret = fr_found(finds, handler, 0, "of protocol %04x, calls %ps",
			       ntohs(handler->type), handler->func);
		if (ret)
			break;
	}

	return ret;
}

static int fr_packet_walk_net(const struct module *victim, struct fr_finds *finds, struct net *net)
{
	struct net_device *dev;
	int ret = fr_packet_walk(victim, finds, compat_net_handlers(net));

	for_each_netdev_rcu(net, dev) {
		if (ret)
			break;
		ret = fr_packet_walk(victim, finds, &dev->ptype_all);
		if (!ret)
			ret = fr_packet_walk(victim, finds, &dev->ptype_specific);
	}

	return ret;
}

static int fr_packet_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	const struct list_head *base = fr_lookup_maybe("ptype_base", PTYPE_HASH_SIZE * sizeof(*base));
	const struct list_head *all = compat_all_handlers();
	struct net *net;
	int i, ret;

	if (!all && COMPAT_HAVE_PTYPE_ALL)
		all = fr_lookup_maybe("ptype_all", sizeof(*all));

	rcu_read_lock();
	ret = fr_packet_walk(rescue->victim, finds, all);
	for (i = 0; base && i < PTYPE_HASH_SIZE && !ret; i++)
		ret = fr_packet_walk(rescue->victim, finds, &base[i]);
	for_each_net_rcu(net)
		if (!ret)
			ret = fr_packet_walk_net(rescue->victim, finds, net);
	rcu_read_unlock();

	return ret;
}

static int fr_packet_undo(struct fr_rescue *rescue, void *object)
{
	dev_remove_pack(object);
	return 0;
}

const struct fr_kind fr_kind_packet = {
	.name = "packet handler",
	.stage = FR_ACTIVE,
	.find = fr_packet_find,
	.undo = fr_packet_undo,
};

/* ---- hooks of netfilter, by network namespace ---- */

#ifdef CONFIG_NETFILTER
static int fr_hook_walk(const struct module *victim, struct fr_finds *finds, const struct net *net,
			struct nf_hook_entries __rcu *const *hooks, size_t count)
{
	const struct nf_hook_entries *entries;
	struct nf_hook_ops *ops;
	unsigned int i;
	size_t n;
	int ret;

	for (n = 0; n < count; n++) {
		entries = rcu_dereference(hooks[n]);
		for (i = 0; entries && i < entries->num_hook_entries; i++) {
			ops = nf_hook_entries_get_hook_ops(entries)[i];
			if (!fr_victim_has(victim, ops) &&
			    !fr_victim_has(victim, entries->hooks[i].hook))
				continue;
			ret = fr_found(finds, ops, 0, "number %zu of net %u, calls %ps", n,
				       net->ns.inum, entries->hooks[i].hook);
			if (ret)
				return ret;
		}
	}

	return 0;
}

#define fr_hook_walk_all(victim, finds, net, hooks) \
	fr_hook_walk(victim, finds, net, (net)->nf.hooks, ARRAY_SIZE((net)->nf.hooks))

static int fr_hook_walk_net(const struct module *victim, struct fr_finds *finds, struct net *net)
{
	int ret = fr_hook_walk_all(victim, finds, net, hooks_ipv4);

	if (!ret)
		ret = fr_hook_walk_all(victim, finds, net, hooks_ipv6);
#ifdef CONFIG_NETFILTER_FAMILY_ARP
	if (!ret)
		ret = fr_hook_walk_all(victim, finds, net, hooks_arp);
#endif
#ifdef CONFIG_NETFILTER_FAMILY_BRIDGE
	if (!ret)
		ret = fr_hook_walk_all(victim, finds, net, hooks_bridge);
#endif
	return ret;
}

static int fr_hook_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct net *net;
	int ret = 0;

	rcu_read_lock();
	for_each_net_rcu(net)
		if (!ret)
			ret = fr_hook_walk_net(rescue->victim, finds, net);
	rcu_read_unlock();

	return ret;
}

/* One that has these operations, with a reference, or NULL. */
static struct net *fr_hook_net(struct fr_rescue *rescue, const void *ops)
{
	struct net *net, *found = NULL;
	struct fr_find *find;

	rcu_read_lock();
	for_each_net_rcu(net) {
		struct fr_finds finds = {
			.rescue = rescue, .list = LIST_HEAD_INIT(finds.list), .quiet = true,
			.kind = &fr_kind_hook,
		};

		fr_hook_walk_net(rescue->victim, &finds, net);
		list_for_each_entry(find, &finds.list, list)
			if (find->object == ops && !found)
				found = maybe_get_net(net);
		fr_finds_forget(&finds);
		if (found)
			break;
	}
	rcu_read_unlock();

	return found;
}

/* The array that a hook is in is replaced by one without it. */
static void fr_hook_cover_of(struct nf_hook_entries __rcu *const *hooks, size_t count,
			     const void *ops, struct fr_extents *covered)
{
	const struct nf_hook_entries *entries;
	unsigned int i;
	size_t n;

	for (n = 0; n < count; n++) {
		entries = rcu_dereference(hooks[n]);
		for (i = 0; entries && i < entries->num_hook_entries; i++)
			if (nf_hook_entries_get_hook_ops(entries)[i] == ops)
				fr_extents_add_object(covered, entries);
	}
}

#define fr_hook_cover_all(net, hooks, ops, covered) \
	fr_hook_cover_of((net)->nf.hooks, ARRAY_SIZE((net)->nf.hooks), ops, covered)

static void fr_hook_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	struct net *net;

	rcu_read_lock();
	for_each_net_rcu(net) {
		fr_hook_cover_all(net, hooks_ipv4, object, covered);
		fr_hook_cover_all(net, hooks_ipv6, object, covered);
#ifdef CONFIG_NETFILTER_FAMILY_ARP
		fr_hook_cover_all(net, hooks_arp, object, covered);
#endif
#ifdef CONFIG_NETFILTER_FAMILY_BRIDGE
		fr_hook_cover_all(net, hooks_bridge, object, covered);
#endif
	}
	rcu_read_unlock();
}

static int fr_hook_undo(struct fr_rescue *rescue, void *object)
{
	struct net *net = fr_hook_net(rescue, object);

	if (!net)
		return -ENOENT;

	nf_unregister_net_hook(net, object);
	put_net(net);
	return 0;
}
#else
static int fr_hook_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	return 0;
}

static int fr_hook_undo(struct fr_rescue *rescue, void *object)
{
	return -ENOENT;
}

static void fr_hook_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
}
#endif

const struct fr_kind fr_kind_hook = {
	.name = "netfilter hook",
	.stage = FR_ACTIVE,
	.find = fr_hook_find,
	.undo = fr_hook_undo,
	.cover = fr_hook_cover,
};

/* ---- protocols above IP ---- */

static int fr_inet_number(const void *protocol)
{
	int number;

	for (number = 0; number < MAX_INET_PROTOS; number++)
		if (rcu_access_pointer(inet_protos[number]) == protocol)
			return number;

	return -ENOENT;
}

static int fr_inet_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	const struct net_protocol *protocol;
	int number, ret = 0;

	rcu_read_lock();
	for (number = 0; number < MAX_INET_PROTOS && !ret; number++) {
		protocol = rcu_dereference(inet_protos[number]);
		if (protocol && fr_victim_has(rescue->victim, protocol->handler))
			ret = fr_found(finds, (void *)protocol, 0, "number %d, calls %ps", number,
				       protocol->handler);
	}
	rcu_read_unlock();

	return ret;
}

static int fr_inet_undo(struct fr_rescue *rescue, void *object)
{
	int number = fr_inet_number(object);

	return number < 0 ? number : inet_del_protocol(object, number);
}

const struct fr_kind fr_kind_inet = {
	.name = "protocol above IP",
	.stage = FR_ACTIVE,
	.find = fr_inet_find,
	.undo = fr_inet_undo,
};
