// SPDX-License-Identifier: GPL-2.0-only
/*
 * netdev.c - network devices whose operations are the victim's
 *
 * Unregistering closes the device, with the victim's own function for it: by then
 * it was complete, or nobody could have opened it. Whose code makes its headers says
 * nothing: a device on top of another copies that.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include <net/net_namespace.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

static bool fr_netdev_is_of(const struct net_device *dev, const struct module *victim)
{
	return fr_victim_has(victim, dev->netdev_ops) || fr_victim_has(victim, dev->ethtool_ops) ||
	       fr_victim_has(victim, dev->rtnl_link_ops);
}

static int fr_netdev_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct net_device *dev;
	struct net *net;
	int ret = 0;

	if (!fr_try(rtnl_trylock())) {
		pr_err("the lock rtnl is taken\n");
		return -EBUSY;
	}

	down_read(&net_rwsem);
	for_each_net(net) {
		for_each_netdev(net, dev) {
			if (!ret && fr_netdev_is_of(dev, rescue->victim))
				ret = fr_found(finds, dev, fr_devices_order(dev->dev.kobj.sd), "%s",
					       dev->name);
		}
	}
	up_read(&net_rwsem);
	rtnl_unlock();

	return ret;
}

static int fr_netdev_undo(struct fr_rescue *rescue, void *object)
{
	unsigned long word = (unsigned long)object;
	struct device *devres = fr_devres_find(rescue->victim, &word, 1);
	struct net_device *dev = object;
	bool frees_itself = dev->needs_free_netdev || devres;

	unregister_netdev(dev);
	if (!frees_itself)
		free_netdev(dev);

	put_device(devres);
	return 0;
}

static void fr_netdev_cover(struct fr_rescue *rescue, void *object, struct fr_extents *covered)
{
	fr_sysfs_cover(&((struct net_device *)object)->dev.kobj, covered);
}

const struct fr_kind fr_kind_netdev = {
	.name = "network device",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_netdev_find,
	.undo = fr_netdev_undo,
	.cover = fr_netdev_cover,
};
