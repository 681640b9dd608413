// SPDX-License-Identifier: GPL-2.0-only
/*
 * states_watch - tells what the kernel tells about every other module's states
 *
 *	insmod states_watch.ko; insmod depend_s.ko; rmmod depend_s; dmesg
 *
 * The log shows a line an event: "NAME: WHERE, state STATE, count N". WHERE is
 * "notifier" with the event's name for the calls of the module notifier chain;
 * there is none for UNFORMED, so probes stand at two functions that the loader
 * calls in that state, one on the way in and one on the way out.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>

static const char *states_watch_name(unsigned long state)
{
	switch (state) {
	case MODULE_STATE_UNFORMED:
		return "UNFORMED";
	case MODULE_STATE_COMING:
		return "COMING";
	case MODULE_STATE_LIVE:
		return "LIVE";
	case MODULE_STATE_GOING:
		return "GOING";
	default:
		return "unknown";
	}
}

/* The name of a module that is not yet formed, or no more, can still be read. */
static void states_watch_tell(const struct module *mod, const char *where, const char *event)
{
	/* The loader's own base, 1, is not counted; see module_refcount(). */
	pr_info("%s: %s%s, state %s, count %d\n", mod->name, where, event,
		states_watch_name(mod->state), atomic_read(&mod->refcnt) - MODULE_REF_BASE);
}

static int states_watch_notify(struct notifier_block *nb, unsigned long event, void *data)
{
	if (data != THIS_MODULE)
		states_watch_tell(data, "notifier ", states_watch_name(event));
	return NOTIFY_DONE;
}

static struct notifier_block states_watch_nb = {
	.notifier_call = states_watch_notify,
};

/* module_finalize(header, sections, module) */
static int states_watch_finalize(struct kprobe *probe, struct pt_regs *regs)
{
	states_watch_tell((const struct module *)regs_get_kernel_argument(regs, 2),
			  probe->symbol_name, "");
	return 0;
}

/* module_arch_cleanup(module) */
static int states_watch_cleanup(struct kprobe *probe, struct pt_regs *regs)
{
	const struct module *mod = (const struct module *)regs_get_kernel_argument(regs, 0);

	if (mod != THIS_MODULE)
		states_watch_tell(mod, probe->symbol_name, "");
	return 0;
}

static struct kprobe states_watch_probes[] = {
	{ .symbol_name = "module_finalize", .pre_handler = states_watch_finalize },
	{ .symbol_name = "module_arch_cleanup", .pre_handler = states_watch_cleanup },
};

static struct kprobe *states_watch_list[] = { &states_watch_probes[0], &states_watch_probes[1] };

static int __init states_watch_init(void)
{
	int err = register_kprobes(states_watch_list, ARRAY_SIZE(states_watch_list));

	if (err)
		return err;
	err = register_module_notifier(&states_watch_nb);
	if (err)
		goto err_notifier;
	pr_info("loaded\n");
	return 0;

err_notifier:
	unregister_kprobes(states_watch_list, ARRAY_SIZE(states_watch_list));
	return err;
}

static void __exit states_watch_exit(void)
{
	unregister_module_notifier(&states_watch_nb);
	unregister_kprobes(states_watch_list, ARRAY_SIZE(states_watch_list));
	pr_info("unloaded\n");
}

module_init(states_watch_init);
module_exit(states_watch_exit);

MODULE_DESCRIPTION("Logs the states that other modules go through");
MODULE_LICENSE("GPL");
