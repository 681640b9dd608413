// SPDX-License-Identifier: GPL-2.0-only
/* hook.c - things that are called when something happens elsewhere */
#include <linux/kernel.h>
#include <linux/keyboard.h>
#include <linux/kprobes.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysrq.h>
#include <linux/tracepoint.h>

#include "faults.h"

static int fa_kprobe_hit(struct kprobe *probe, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe fa_kprobe;

int fa_kprobe_start(void)
{
	memset(&fa_kprobe, 0, sizeof(fa_kprobe));
	fa_kprobe.symbol_name = "kernel_halt";
	fa_kprobe.pre_handler = fa_kprobe_hit;
	return register_kprobe(&fa_kprobe);
}

void fa_kprobe_stop(void)
{
	unregister_kprobe(&fa_kprobe);
}

static int fa_notifier_called(struct notifier_block *block, unsigned long event, void *data)
{
	return NOTIFY_DONE;
}

static struct notifier_block fa_block = { .notifier_call = fa_notifier_called };

int fa_notifier_reboot_start(void)
{
	return register_reboot_notifier(&fa_block);
}

void fa_notifier_reboot_stop(void)
{
	unregister_reboot_notifier(&fa_block);
}

int fa_notifier_netdevice_start(void)
{
	return register_netdevice_notifier(&fa_block);
}

void fa_notifier_netdevice_stop(void)
{
	unregister_netdevice_notifier(&fa_block);
}

int fa_notifier_panic_start(void)
{
	return atomic_notifier_chain_register(&panic_notifier_list, &fa_block);
}

void fa_notifier_panic_stop(void)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &fa_block);
}

int fa_notifier_keyboard_start(void)
{
	return register_keyboard_notifier(&fa_block);
}

void fa_notifier_keyboard_stop(void)
{
	unregister_keyboard_notifier(&fa_block);
}

static struct tracepoint *fa_tracepoint;

static void fa_tracepoint_look(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "sched_process_exec"))
		fa_tracepoint = tp;
}

static void fa_tracepoint_hit(void *data)
{
}

int fa_tracepoint_start(void)
{
	for_each_kernel_tracepoint(fa_tracepoint_look, NULL);
	if (!fa_tracepoint)
		return -ENOENT;

	return tracepoint_probe_register(fa_tracepoint, fa_tracepoint_hit, NULL);
}

void fa_tracepoint_stop(void)
{
	tracepoint_probe_unregister(fa_tracepoint, fa_tracepoint_hit, NULL);
	tracepoint_synchronize_unregister();
}

/* ---- kinds that force_rmmod does not know, and refuses ---- */

/* A letter that no other key of the kernel has. */
#define FA_SYSRQ 'y'

static const struct sysrq_key_op fa_sysrq = {
	.help_msg = "faults(y)",
	.action_msg = "faults",
};

int fa_sysrq_start(void)
{
	return register_sysrq_key(FA_SYSRQ, &fa_sysrq);
}

void fa_sysrq_stop(void)
{
	unregister_sysrq_key(FA_SYSRQ, &fa_sysrq);
}

static int fa_packet_received(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
			      struct net_device *original)
{
	kfree_skb(skb);
	return 0;
}

static struct packet_type fa_packet;

static void fa_packet_add(struct packet_type *packet)
{
	packet->type = htons(ETH_P_LOOPBACK);
	packet->func = fa_packet_received;
	dev_add_pack(packet);
}

int fa_packet_start(void)
{
	memset(&fa_packet, 0, sizeof(fa_packet));
	fa_packet_add(&fa_packet);
	return 0;
}

void fa_packet_stop(void)
{
	dev_remove_pack(&fa_packet);
}

static struct packet_type *fa_packet_memory;

int fa_packet_allocated_start(void)
{
	fa_packet_memory = kzalloc(sizeof(*fa_packet_memory), GFP_KERNEL);
	if (!fa_packet_memory)
		return -ENOMEM;

	fa_packet_add(fa_packet_memory);
	return 0;
}

void fa_packet_allocated_stop(void)
{
	dev_remove_pack(fa_packet_memory);
	kfree(fa_packet_memory);
}
