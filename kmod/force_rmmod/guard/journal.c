// SPDX-License-Identifier: GPL-2.0-only
/*
 * journal.c - what a guarded init has registered, in order
 *
 * Probes on the kernel's own functions note, while a guarded call runs, in its
 * task only, the object that is registered: an argument, or, of functions that
 * make the object and call nobody's code, what they return. What the journal
 * says is not believed but looked for: undo.c takes a word of the journal for
 * what it takes a word of the victim's data, and confirms it by the kernel's own
 * lists; and of two objects that stand in it, the younger is undone first.
 *
 * A kernel has some of the functions only: the others have no probe.
 */
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/ptrace.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "guard/guard.h"
#include "victim/victim.h"

enum fr_source {
	FR_ARGUMENT,	/* the object */
	FR_ORDER,	/* the same, and perhaps one of the kernel's own: only its turn counts */
	FR_DIRECT,	/* the same, if the victim itself calls the function */
	FR_RETURNED,	/* made by a function that the victim has called */
	FR_NUMBER,	/* the same of a number, which goes where the first argument points */
	FR_REMOVED,	/* the object, which is no more */
};

struct fr_probe {
	const char *symbol;
	enum fr_source source;
	unsigned char argument;
	unsigned char object_at;	/* where in it the object is that undo.c knows */
};

#define FR_PLATFORM offsetof(struct platform_device, dev)

static const struct fr_probe fr_probes[] = {
	{ "platform_device_add", FR_ARGUMENT, 0, FR_PLATFORM },
	{ "device_add", FR_DIRECT, 0, 0 },
	{ "device_register", FR_DIRECT, 0, 0 },
	{ "driver_register", FR_ORDER, 0, 0 },
	{ "class_register", FR_ORDER, 0, 0 },
	{ "__class_register", FR_ORDER, 0, 0 },
	{ "device_create", FR_RETURNED, 0, 0 },
	{ "device_create_with_groups", FR_RETURNED, 0, 0 },
	{ "input_allocate_device", FR_RETURNED, 0, 0 },
	{ "input_register_device", FR_ARGUMENT, 0, 0 },
	{ "misc_register", FR_ORDER, 0, 0 },
	{ "alloc_chrdev_region", FR_NUMBER, 0, 0 },
	{ "register_chrdev_region", FR_ARGUMENT, 0, 0 },
	{ "cdev_add", FR_ORDER, 0, 0 },
	{ "register_netdevice", FR_ORDER, 0, 0 },
	{ "register_filesystem", FR_ORDER, 0, 0 },
	{ "kobject_create_and_add", FR_RETURNED, 0, 0 },
	{ "kobject_init_and_add", FR_ORDER, 0, 0 },
	{ "kthread_create_on_node", FR_RETURNED, 0, 0 },
	{ "alloc_workqueue", FR_RETURNED, 0, 0 },
	{ "alloc_workqueue_noprof", FR_RETURNED, 0, 0 },
	{ "register_kprobe", FR_ORDER, 0, 0 },
	{ "atomic_notifier_chain_register", FR_ORDER, 1, 0 },
	{ "blocking_notifier_chain_register", FR_ORDER, 1, 0 },
	{ "raw_notifier_chain_register", FR_ORDER, 1, 0 },
	{ "srcu_notifier_chain_register", FR_ORDER, 1, 0 },
	{ "proc_mkdir", FR_RETURNED, 0, 0 },
	{ "proc_mkdir_data", FR_RETURNED, 0, 0 },
	{ "proc_mkdir_mode", FR_RETURNED, 0, 0 },
	{ "_proc_mkdir", FR_RETURNED, 0, 0 },
	{ "proc_create", FR_RETURNED, 0, 0 },
	{ "proc_create_data", FR_RETURNED, 0, 0 },
	{ "proc_create_seq_private", FR_RETURNED, 0, 0 },
	{ "proc_create_single_data", FR_RETURNED, 0, 0 },
	{ "register_sysctl", FR_RETURNED, 0, 0 },
	{ "register_sysctl_sz", FR_RETURNED, 0, 0 },
	{ "register_net_sysctl", FR_RETURNED, 0, 0 },
	{ "register_net_sysctl_sz", FR_RETURNED, 0, 0 },
	{ "debugfs_create_dir", FR_RETURNED, 0, 0 },
	{ "kmem_cache_create", FR_RETURNED, 0, 0 },
	{ "kmem_cache_create_usercopy", FR_RETURNED, 0, 0 },
	{ "__kmem_cache_create_args", FR_RETURNED, 0, 0 },
	{ "__request_region", FR_RETURNED, 0, 0 },
	{ "request_resource", FR_ORDER, 1, 0 },
	{ "device_del", FR_REMOVED, 0, 0 },
	{ "input_free_device", FR_REMOVED, 0, 0 },
	{ "kobject_del", FR_REMOVED, 0, 0 },
	{ "destroy_workqueue", FR_REMOVED, 0, 0 },
	{ "proc_remove", FR_REMOVED, 0, 0 },
	{ "debugfs_remove", FR_REMOVED, 0, 0 },
	{ "kmem_cache_destroy", FR_REMOVED, 0, 0 },
};

/* Of those with FR_RETURNED and FR_NUMBER all, of the others the kprobe in it. */
static struct kretprobe fr_journal_probes[ARRAY_SIZE(fr_probes)];
static bool fr_journal_probed[ARRAY_SIZE(fr_probes)];

/* That of the victim which is being undone; here, so that a word of it has a name. */
static struct fr_journal fr_journal;

/* ---- while init runs ---- */

static bool fr_journal_is_evidence(const struct fr_probe *probe)
{
	return probe->source != FR_ORDER && probe->source != FR_DIRECT;
}

/* Kept inverted: nobody who searches memory is to take the journal for a reference. */
static void fr_journal_add(struct fr_journal *journal, const struct fr_probe *probe,
			   unsigned long word)
{
	if (journal->count == FR_JOURNAL_SIZE || !word || IS_ERR_VALUE(word))
		return;

	journal->words[journal->count] = fr_journal_is_evidence(probe) ? ~word : 0;
	journal->objects[journal->count++] = ~(word + probe->object_at);
}

static void fr_journal_remove(struct fr_journal *journal, unsigned long object)
{
	unsigned int i;

	for (i = 0; i < journal->count; i++)
		if (journal->objects[i] == ~object)
			journal->objects[i] = journal->words[i] = 0;
}

/* Of a function that has just been called, the return address is still in its place. */
static bool fr_journal_is_direct(const struct fr_call *call, struct pt_regs *regs)
{
	return fr_victim_has(call->mod, (void *)regs_get_kernel_stack_nth(regs, 0));
}

static int fr_journal_hit(struct kprobe *kprobe, struct pt_regs *regs)
{
	const struct fr_probe *probe;
	struct fr_call *call = fr_call_probed(regs);

	if (!call || !call->journal)
		return 0;

	probe = &fr_probes[container_of(kprobe, struct kretprobe, kp) - fr_journal_probes];
	if (probe->source == FR_REMOVED)
		fr_journal_remove(call->journal,
				  regs_get_kernel_argument(regs, probe->argument));
	else if (probe->source != FR_DIRECT || fr_journal_is_direct(call, regs))
		fr_journal_add(call->journal, probe,
			       regs_get_kernel_argument(regs, probe->argument));

	return 0;
}

static int fr_journal_enter(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct fr_call *call = fr_call_probed(regs);

	if (!call || !call->journal || !fr_journal_is_direct(call, regs))
		return -ENOENT;

	*(unsigned long *)instance->data = regs_get_kernel_argument(regs, 0);
	return 0;
}

static int fr_journal_leave(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	const struct fr_probe *probe = &fr_probes[compat_kretprobe(instance) - fr_journal_probes];
	unsigned long value = regs_return_value(regs);
	struct fr_call *call = fr_call_current();

	if (!call || !call->journal)
		return 0;
	if (probe->source == FR_RETURNED)
		fr_journal_add(call->journal, probe, value);
	else if (!value)
		fr_journal_add(call->journal, probe, **(dev_t **)instance->data);

	return 0;
}

struct fr_journal *fr_journal_begin(void)
{
	return kzalloc(sizeof(struct fr_journal), GFP_KERNEL);
}

void fr_journal_end(struct fr_journal *journal)
{
	kfree(journal);
}

/* ---- while it is undone ---- */

static unsigned long fr_journal_word(unsigned long kept)
{
	return kept ? ~kept : 0;
}

struct fr_journal *fr_journal_copy(const struct fr_journal *journal)
{
	unsigned int i;

	if (!journal)
		return NULL;

	fr_journal.count = journal->count;
	for (i = 0; i < journal->count; i++) {
		fr_journal.words[i] = fr_journal_word(journal->words[i]);
		fr_journal.objects[i] = fr_journal_word(journal->objects[i]);
	}
	return &fr_journal;
}

/* What probes have noted of a call stays in their memory until the next one. */
bool fr_journal_is_ours(const void *start)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_probes); i++)
		if (fr_journal_probed[i] && fr_journal_probes[i].handler &&
		    compat_kretprobe_has(&fr_journal_probes[i], start))
			return true;

	return false;
}

/* ---- the probes ---- */

static int fr_journal_probe(const struct fr_probe *probe, struct kretprobe *at)
{
	*at = (struct kretprobe){ .kp.symbol_name = probe->symbol };
	if (probe->source == FR_RETURNED || probe->source == FR_NUMBER) {
		at->entry_handler = fr_journal_enter;
		at->handler = fr_journal_leave;
		at->data_size = sizeof(unsigned long);
		/* The default is too few for functions that sleep. */
		at->maxactive = FR_CALLS;
		return register_kretprobe(at);
	}

	at->kp.pre_handler = fr_journal_hit;
	return register_kprobe(&at->kp);
}

int fr_journal_init(void)
{
	size_t i, count = 0;

	for (i = 0; i < ARRAY_SIZE(fr_probes); i++) {
		fr_journal_probed[i] = !fr_journal_probe(&fr_probes[i], &fr_journal_probes[i]);
		count += fr_journal_probed[i];
	}

	if (!count)
		pr_warn("guard: no function can be probed; what init registers is guessed\n");

	return count;
}

void fr_journal_exit(void)
{
	struct kretprobe *returns[ARRAY_SIZE(fr_probes)];
	struct kprobe *entries[ARRAY_SIZE(fr_probes)];
	int i, nr_returns = 0, nr_entries = 0;

	for (i = 0; i < (int)ARRAY_SIZE(fr_probes); i++) {
		if (!fr_journal_probed[i])
			continue;
		if (fr_journal_probes[i].handler)
			returns[nr_returns++] = &fr_journal_probes[i];
		else
			entries[nr_entries++] = &fr_journal_probes[i].kp;
	}

	unregister_kretprobes(returns, nr_returns);
	unregister_kprobes(entries, nr_entries);
}
