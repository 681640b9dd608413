// SPDX-License-Identifier: GPL-2.0-only
/*
 * notifier.c - who is told when something happens: one row a chain
 *
 * A block is the victim's if it lies in its memory or calls its code. Some chains
 * tell a block that leaves all over again what there is, so its function is
 * replaced by one that does nothing before it goes.
 */
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/inetdevice.h>
#include <linux/keyboard.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/rcupdate.h>
#include <linux/reboot.h>
#include <linux/rtnetlink.h>
#include <linux/rwsem.h>
#include <linux/suspend.h>
#include <linux/vt_kern.h>

#include <net/addrconf.h>
#include <net/netevent.h>

#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

enum fr_chain_type {
	FR_CHAIN_ATOMIC,
	FR_CHAIN_BLOCKING,
	FR_CHAIN_RTNL,
};

struct fr_chain {
	const char *name;
	const char *symbol;
	enum fr_chain_type type;
	int (*unregister)(struct notifier_block *block);
	bool maybe;	/* not every kernel has it */
};

static int fr_chain_leave_panic(struct notifier_block *block)
{
	return atomic_notifier_chain_unregister(&panic_notifier_list, block);
}

static const struct fr_chain fr_chains[] = {
	{ "reboot", "reboot_notifier_list", FR_CHAIN_BLOCKING, unregister_reboot_notifier },
	{ "netdevice", "netdev_chain", FR_CHAIN_RTNL, unregister_netdevice_notifier },
	{ "panic", "panic_notifier_list", FR_CHAIN_ATOMIC, fr_chain_leave_panic },
	{ "die", "die_chain", FR_CHAIN_ATOMIC, unregister_die_notifier },
	{ "module", "module_notify_list", FR_CHAIN_BLOCKING, unregister_module_notifier },
	{ "oom", "oom_notify_list", FR_CHAIN_BLOCKING, unregister_oom_notifier },
	{ "restart", "restart_handler_list", FR_CHAIN_ATOMIC, unregister_restart_handler, true },
#ifdef CONFIG_INET
	{ "IPv4 address", "inetaddr_chain", FR_CHAIN_BLOCKING, unregister_inetaddr_notifier, true },
	{ "IPv6 address", "inet6addr_chain", FR_CHAIN_ATOMIC, unregister_inet6addr_notifier, true },
	{ "neighbour", "netevent_notif_chain", FR_CHAIN_ATOMIC, unregister_netevent_notifier, true },
#endif
#ifdef CONFIG_VT
	{ "terminal", "vt_notifier_list", FR_CHAIN_ATOMIC, unregister_vt_notifier, true },
	{ "keyboard", "keyboard_notifier_list", FR_CHAIN_ATOMIC, unregister_keyboard_notifier },
#endif
#ifdef CONFIG_PM_SLEEP
	{ "power", "pm_chain_head", FR_CHAIN_BLOCKING, unregister_pm_notifier },
#endif
};

FR_SYMBOL("reboot_notifier_list");
FR_SYMBOL("netdev_chain");
FR_SYMBOL("panic_notifier_list");
FR_SYMBOL("die_chain");
FR_SYMBOL("module_notify_list");
FR_SYMBOL("oom_notify_list");
FR_SYMBOL("restart_handler_list");
FR_SYMBOL("inetaddr_chain");
FR_SYMBOL("inet6addr_chain");
FR_SYMBOL("netevent_notif_chain");
FR_SYMBOL("vt_notifier_list");
FR_SYMBOL("keyboard_notifier_list");
FR_SYMBOL("pm_chain_head");

struct fr_chain_find {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
	const struct fr_chain *chain;
	const struct notifier_block *block;	/* only whether this one is there, if not NULL */
};

/* Returns 1 if the one that is asked for is there. */
static int fr_chain_walk(struct fr_chain_find *find, struct notifier_block *block)
{
	int ret;

	for (; block; block = rcu_dereference_raw(block->next)) {
		if (find->block && find->block != block)
			continue;
		if (find->block)
			return 1;
		if (!fr_victim_has(find->rescue->victim, block) &&
		    !fr_victim_has(find->rescue->victim, block->notifier_call))
			continue;
		ret = fr_found(find->finds, block, find->chain - fr_chains + 1, "%s, calls %ps",
			       find->chain->name, block->notifier_call);
		if (ret)
			return ret;
	}

	return 0;
}

static int fr_chain_find_blocking(struct fr_chain_find *find, struct blocking_notifier_head *head)
{
	int ret;

	if (!fr_try(down_read_trylock(&head->rwsem))) {
		pr_err("the notifier chain %s is in use\n", find->chain->name);
		return -EBUSY;
	}
	ret = fr_chain_walk(find, rcu_dereference_raw(head->head));
	up_read(&head->rwsem);

	return ret;
}

static int fr_chain_find_one(struct fr_chain_find *find)
{
	size_t sizes[] = { sizeof(struct atomic_notifier_head),
			   sizeof(struct blocking_notifier_head),
			   sizeof(struct raw_notifier_head) };
	void *(*look_up)(const char *symbol, size_t size) =
		find->chain->maybe ? fr_lookup_quietly : fr_lookup_name;
	void *head = look_up(find->chain->symbol, sizes[find->chain->type]);
	int ret;

	if (!head)
		return find->chain->maybe ? 0 : -EOPNOTSUPP;

	switch (find->chain->type) {
	case FR_CHAIN_BLOCKING:
		return fr_chain_find_blocking(find, head);
	case FR_CHAIN_RTNL:
		if (!fr_try(rtnl_trylock())) {
			pr_err("the lock rtnl is taken\n");
			return -EBUSY;
		}
		ret = fr_chain_walk(find,
				    rcu_dereference_raw(((struct raw_notifier_head *)head)->head));
		rtnl_unlock();
		return ret;
	default:
		rcu_read_lock();
		ret = fr_chain_walk(find,
				    rcu_dereference(((struct atomic_notifier_head *)head)->head));
		rcu_read_unlock();
		return ret;
	}
}

static int fr_notifier_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_chain_find find = { rescue, finds };
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(fr_chains); i++) {
		find.chain = &fr_chains[i];
		ret = fr_chain_find_one(&find);
		if (ret)
			return ret;
	}

	return 0;
}

static int fr_notifier_nothing(struct notifier_block *block, unsigned long event, void *data)
{
	return NOTIFY_DONE;
}

/* Only from the chain that it is on: some take locks before they look. */
static int fr_notifier_undo(struct fr_rescue *rescue, void *object)
{
	struct notifier_block *block = object;
	struct fr_chain_find find = { .rescue = rescue, .block = block };
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(fr_chains); i++) {
		find.chain = &fr_chains[i];
		ret = fr_chain_find_one(&find);
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		WRITE_ONCE(block->notifier_call, fr_notifier_nothing);
		return find.chain->unregister(block);
	}

	return -ENOENT;
}

const struct fr_kind fr_kind_notifier = {
	.name = "notifier",
	.stage = FR_ACTIVE,
	.find = fr_notifier_find,
	.undo = fr_notifier_undo,
};
