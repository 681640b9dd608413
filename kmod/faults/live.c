// SPDX-License-Identifier: GPL-2.0-only
/*
 * live.c - references of kinds that force_rmmod does not know, each in a shape that a
 * rule which is too loose would take for dead; and what only looks like one
 */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/if_ether.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include <net/net_namespace.h>
#include <net/tcp.h>

#include "faults.h"

#define FA_ARRAY 4

/* ---- in the middle of an array, whose other elements are nobody's ---- */

static struct packet_type fa_packets[FA_ARRAY];

static int fa_packets_received(struct sk_buff *skb, struct net_device *dev,
			       struct packet_type *type, struct net_device *original)
{
	kfree_skb(skb);
	return 0;
}

int fa_packet_array_start(void)
{
	fa_packets[2].type = htons(ETH_P_LOOPBACK);
	fa_packets[2].func = fa_packets_received;
	dev_add_pack(&fa_packets[2]);
	return 0;
}

void fa_packet_array_stop(void)
{
	dev_remove_pack(&fa_packets[2]);
}

/* Each arms itself again. */
static struct timer_list fa_timers[FA_ARRAY];

static void fa_timers_fire(struct timer_list *timer)
{
	mod_timer(timer, jiffies + HZ / 10);
}

int fa_timer_array_start(void)
{
	int i;

	for (i = 0; i < FA_ARRAY; i++) {
		timer_setup(&fa_timers[i], fa_timers_fire, 0);
		mod_timer(&fa_timers[i], jiffies + HZ / 10);
	}
	return 0;
}

void fa_timer_array_stop(void)
{
	int i;

	for (i = 0; i < FA_ARRAY; i++)
		timer_delete_sync(&fa_timers[i]);
}

/* ---- a hook, which the kernel keeps in an array of its own ---- */

static unsigned int fa_netfilter_called(void *data, struct sk_buff *skb,
					const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

static const struct nf_hook_ops fa_netfilter = {
	.hook = fa_netfilter_called,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_LOCAL_OUT,
	.priority = NF_IP_PRI_LAST,
};

int fa_netfilter_start(void)
{
	return nf_register_net_hook(&init_net, &fa_netfilter);
}

void fa_netfilter_stop(void)
{
	nf_unregister_net_hook(&init_net, &fa_netfilter);
}

/* ---- what the kernel keeps on a list that nobody else knows, in an array or allocated ---- */

static void fa_congestion_avoid(struct sock *sk, u32 ack, u32 acked)
{
	tcp_reno_cong_avoid(sk, ack, acked);
}

static struct tcp_congestion_ops fa_congestions[FA_ARRAY], *fa_congestion;

static int fa_congestion_add(struct tcp_congestion_ops *ops)
{
	strscpy(ops->name, "faults", sizeof(ops->name));
	ops->owner = THIS_MODULE;
	ops->ssthresh = tcp_reno_ssthresh;
	ops->undo_cwnd = tcp_reno_undo_cwnd;
	ops->cong_avoid = fa_congestion_avoid;
	return tcp_register_congestion_control(ops);
}

int fa_congestion_start(void)
{
	return fa_congestion_add(&fa_congestions[2]);
}

void fa_congestion_stop(void)
{
	tcp_unregister_congestion_control(&fa_congestions[2]);
}

int fa_congestion_allocated_start(void)
{
	fa_congestion = kzalloc(sizeof(*fa_congestion), GFP_KERNEL);
	return fa_congestion ? fa_congestion_add(fa_congestion) : -ENOMEM;
}

void fa_congestion_allocated_stop(void)
{
	tcp_unregister_congestion_control(fa_congestion);
	kfree(fa_congestion);
}

/* ---- a callback that uses what the module has allocated, a queue and a device ---- */

static struct workqueue_struct *fa_user_queue;
static struct platform_device *fa_user_device;

static void fa_user_works(struct work_struct *work)
{
	dev_name(&fa_user_device->dev);
}

static DECLARE_WORK(fa_user_work, fa_user_works);

static struct rcu_head fa_user_head;
static bool fa_user_ends;

static void fa_user_called(struct rcu_head *head)
{
	if (READ_ONCE(fa_user_ends))
		return;
	queue_work(fa_user_queue, &fa_user_work);
	call_rcu(head, fa_user_called);
}

int fa_user_start(void)
{
	int ret;

	fa_user_queue = alloc_workqueue("faults_user", WQ_UNBOUND, 0);
	if (!fa_user_queue)
		return -ENOMEM;

	fa_user_device = platform_device_register_simple("faults_user", PLATFORM_DEVID_NONE, NULL, 0);
	ret = PTR_ERR_OR_ZERO(fa_user_device);
	WRITE_ONCE(fa_user_ends, false);
	if (!ret)
		call_rcu(&fa_user_head, fa_user_called);
	return ret;
}

void fa_user_stop(void)
{
	WRITE_ONCE(fa_user_ends, true);
	rcu_barrier();
	rcu_barrier();
	platform_device_unregister(fa_user_device);
	destroy_workqueue(fa_user_queue);
}

/* ---- a callback that queues itself, so that it always waits ---- */

static struct rcu_head fa_rcu_head;
static bool fa_rcu_ends;

static void fa_rcu_called(struct rcu_head *head)
{
	if (!READ_ONCE(fa_rcu_ends))
		call_rcu(head, fa_rcu_called);
}

int fa_rcu_self_start(void)
{
	WRITE_ONCE(fa_rcu_ends, false);
	call_rcu(&fa_rcu_head, fa_rcu_called);
	return 0;
}

void fa_rcu_self_stop(void)
{
	WRITE_ONCE(fa_rcu_ends, true);
	rcu_barrier();
	rcu_barrier();
}

/* ---- a chain of allocations, of which only the first is known to the kernel ---- */

struct fa_link {
	struct fa_link *next;
	void (*call)(void);
	struct packet_type packet;
};

static struct fa_link *fa_chain;

static void fa_chain_called(void)
{
}

int fa_packet_chain_start(void)
{
	int i;

	for (i = 0; i < FA_ARRAY; i++) {
		struct fa_link *link = kzalloc(sizeof(*link), GFP_KERNEL);

		if (!link)
			return -ENOMEM;
		link->next = fa_chain;
		link->call = fa_chain_called;
		fa_chain = link;
	}
	fa_chain->packet.type = htons(ETH_P_LOOPBACK);
	fa_chain->packet.func = fa_packets_received;
	dev_add_pack(&fa_chain->packet);
	return 0;
}

static void fa_chain_free(void)
{
	struct fa_link *link;

	while (fa_chain) {
		link = fa_chain;
		fa_chain = link->next;
		kfree(link);
	}
}

void fa_packet_chain_stop(void)
{
	dev_remove_pack(&fa_chain->packet);
	fa_chain_free();
}

/* The same that nobody knows: it leaks, and is no harm. */
int fa_chain_start(void)
{
	int ret = fa_packet_chain_start();

	if (!ret)
		dev_remove_pack(&fa_chain->packet);
	return ret;
}

void fa_chain_stop(void)
{
	fa_chain_free();
}

/* ---- plain data that looks like a high-resolution timer which is queued ---- */

static struct hrtimer fa_lookalike, fa_lookalike_model;

static enum hrtimer_restart fa_lookalike_fires(struct hrtimer *timer)
{
	return HRTIMER_NORESTART;
}

int fa_lookalike_start(void)
{
	compat_hrtimer_setup(&fa_lookalike_model, fa_lookalike_fires, CLOCK_MONOTONIC,
			     HRTIMER_MODE_REL);
	hrtimer_start(&fa_lookalike_model, ktime_set(100, 0), HRTIMER_MODE_REL);
	memcpy(&fa_lookalike, &fa_lookalike_model, sizeof(fa_lookalike));
	hrtimer_cancel(&fa_lookalike_model);
	return 0;
}

void fa_lookalike_stop(void)
{
}

/* ---- a reader who dies, and holds the attribute ---- */

static ssize_t fa_reader_show(struct kobject *kobj, struct kobj_attribute *attribute, char *buffer)
{
	fa_die_null();
	return 0;
}

static struct kobj_attribute fa_reader = __ATTR(faults_reader, 0444, fa_reader_show, NULL);

int fa_reader_start(void)
{
	return sysfs_create_file(kernel_kobj, &fa_reader.attr);
}

void fa_reader_stop(void)
{
	sysfs_remove_file(kernel_kobj, &fa_reader.attr);
}

/* ---- a file whose operations name no owner: nobody counts who has it open ---- */

static int fa_unowned_open(struct inode *inode, struct file *file)
{
	return 0;
}

static struct file_operations fa_unowned_fops = {
	.open = fa_unowned_open,
};

static struct miscdevice fa_unowned = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "faults_unowned",
	.fops = &fa_unowned_fops,
};

int fa_unowned_start(void)
{
	return misc_register(&fa_unowned);
}

void fa_unowned_stop(void)
{
	misc_deregister(&fa_unowned);
}
