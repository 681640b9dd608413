// SPDX-License-Identifier: GPL-2.0-only
/* hook.c - things that are called when something happens elsewhere */
#include <linux/kernel.h>
#include <linux/keyboard.h>
#include <linux/kprobes.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/string.h>
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
