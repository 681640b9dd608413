// SPDX-License-Identifier: GPL-2.0-only
/* store.c - network devices, slab caches, ranges of addresses */
#include <linux/etherdevice.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

#include "faults.h"

static struct net_device *fa_netdev;

static netdev_tx_t fa_netdev_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

const struct net_device_ops fa_netdev_ops = {
	.ndo_start_xmit = fa_netdev_xmit,
};

int fa_netdev_start(void)
{
	int ret;

	fa_netdev = alloc_netdev(0, "faults%d", NET_NAME_ENUM, ether_setup);
	if (!fa_netdev)
		return -ENOMEM;

	fa_netdev->netdev_ops = &fa_netdev_ops;
	eth_hw_addr_random(fa_netdev);
	ret = register_netdev(fa_netdev);
	if (ret)
		free_netdev(fa_netdev);

	return ret;
}

void fa_netdev_stop(void)
{
	unregister_netdev(fa_netdev);
	free_netdev(fa_netdev);
}

static struct kmem_cache *fa_cache;

/* A constructor, which also keeps it from being merged with another cache. */
static void fa_cache_construct(void *object)
{
}

int fa_cache_start(void)
{
	fa_cache = kmem_cache_create("faults_cache", 200, 0, 0, fa_cache_construct);
	return fa_cache ? 0 : -ENOMEM;
}

void fa_cache_stop(void)
{
	kmem_cache_destroy(fa_cache);
}

/* Nothing is there in the virtual machine, neither memory nor a device. */
#define FA_REGION_START 0x90000000
#define FA_REGION_SIZE 0x1000

static struct resource fa_part = {
	.name = "faults_part",
	.start = FA_REGION_START,
	.end = FA_REGION_START + FA_REGION_SIZE / 2 - 1,
	.flags = IORESOURCE_MEM,
};

/* One that the kernel allocates, and one of our own inside it. */
int fa_region_start(void)
{
	struct resource *whole;

	whole = request_mem_region(FA_REGION_START, FA_REGION_SIZE, "faults_region");
	if (!whole)
		return -EBUSY;

	if (request_resource(whole, &fa_part)) {
		release_mem_region(FA_REGION_START, FA_REGION_SIZE);
		return -EBUSY;
	}

	return 0;
}

void fa_region_stop(void)
{
	release_resource(&fa_part);
	release_mem_region(FA_REGION_START, FA_REGION_SIZE);
}
