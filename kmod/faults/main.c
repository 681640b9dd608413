// SPDX-License-Identifier: GPL-2.0-only
/*
 * faults - a module that breaks on purpose, one row of a table a scenario
 *
 *	insmod faults.ko scenario=null		oopses in init, and is stuck
 *	insmod faults.ko fault=0 scenario=misc	registers a misc device, and is well
 *	insmod faults.ko			does nothing, and is well
 *
 * A scenario first registers something or nothing (start) and then gets stuck:
 * it dies in init, in exit or in the setter of a parameter, leaks a reference to
 * itself, has no exit function, or simply takes its time. With fault=0, which
 * has to stand before scenario, it does not get stuck, and exit undoes what
 * start has registered. A slow init returns when 1 is written to
 * /sys/module/faults/parameters/release; with hold=1 any init waits for that
 * before it gets stuck, so that programs can use what has been registered.
 *
 * The log shows "scenario NAME: set up" and "scenario NAME: taken down". An
 * unknown scenario is refused with EINVAL.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "faults.h"

#define FA_LEFT(thing) { #thing, FA_IN_INIT, fa_##thing##_start, fa_##thing##_stop, NULL }

static const struct fa_row fa_rows[] = {
	/* how it gets stuck */
	{ "null", FA_IN_INIT, NULL, NULL, fa_die_null },
	{ "bug", FA_IN_INIT, NULL, NULL, fa_die_bug },
	{ "protection", FA_IN_INIT, NULL, NULL, fa_die_protection },
	{ "jump", FA_IN_INIT, NULL, NULL, fa_die_jump },
	{ "atomic", FA_IN_INIT, NULL, NULL, fa_die_atomic },
	{ "irqs_off", FA_IN_INIT, NULL, NULL, fa_die_irqs_off },
	{ "interrupt", FA_IN_INIT, NULL, NULL, fa_die_interrupt },
	{ "overflow", FA_IN_INIT, NULL, NULL, fa_die_overflow },
	{ "locked", FA_IN_INIT, NULL, NULL, fa_die_locked },
	{ "rcu", FA_IN_INIT, NULL, NULL, fa_die_rcu },
	{ "setter", FA_IN_SETTER, NULL, NULL, fa_die_null },
	{ "exit", FA_IN_EXIT, fa_platform_device_start, fa_platform_device_stop, fa_die_null },
	{ "no_exit", FA_IN_INIT, NULL, NULL, fa_die_no_exit },
	{ "leak", FA_IN_INIT, fa_misc_start, fa_misc_stop, fa_die_leak },
	{ "sleep", FA_IN_INIT, NULL, NULL, fa_die_sleep },
	{ "busy", FA_IN_INIT, NULL, NULL, fa_die_busy },
	{ "probe", FA_IN_START, fa_probe_start, fa_probe_stop, NULL },
	{ "probe_devres", FA_IN_START, fa_probe_devres_start, fa_probe_stop, NULL },
	{ "probe_remove", FA_IN_START, fa_probe_remove_start, fa_probe_stop, NULL },
	{ "probe_attach", FA_IN_START, fa_probe_attach_start, fa_probe_stop, NULL },
	{ "probe_async", FA_IN_START, fa_probe_async_start, fa_probe_async_stop, NULL },
	{ "probe_async_devres", FA_IN_START, fa_probe_async_devres_start, fa_probe_async_stop, NULL },
	{ "probe_pci", FA_IN_START, fa_probe_pci_start, fa_probe_pci_stop, NULL },
	/* what it leaves behind when it dies in init */
	FA_LEFT(platform_device),
	FA_LEFT(platform_static),
	FA_LEFT(platform_driver),
	FA_LEFT(input),
	FA_LEFT(input_allocated),
	FA_LEFT(misc),
	FA_LEFT(chrdev),
	FA_LEFT(class),
	FA_LEFT(timer),
	FA_LEFT(timer_allocated),
	FA_LEFT(hrtimer),
	FA_LEFT(work),
	FA_LEFT(work_allocated),
	FA_LEFT(thread),
	FA_LEFT(irq),
	FA_LEFT(kprobe),
	FA_LEFT(notifier_reboot),
	FA_LEFT(notifier_netdevice),
	FA_LEFT(notifier_panic),
	FA_LEFT(notifier_keyboard),
	FA_LEFT(tracepoint),
	FA_LEFT(proc),
	FA_LEFT(debugfs),
	FA_LEFT(sysfs),
	FA_LEFT(kobject),
	FA_LEFT(sysctl),
	FA_LEFT(filesystem),
	FA_LEFT(socket),
	FA_LEFT(netdev),
	FA_LEFT(cache),
	FA_LEFT(region),
	FA_LEFT(hidden),
	{ "stubborn", FA_IN_INIT, fa_stubborn_start, fa_thread_stop, NULL },
	/* hooks, and what the kernel calls by itself */
	FA_LEFT(sysrq),
	FA_LEFT(packet),
	FA_LEFT(packet_allocated),
	FA_LEFT(packet_array),
	FA_LEFT(packet_chain),
	FA_LEFT(congestion),
	FA_LEFT(congestion_allocated),
	FA_LEFT(netfilter),
	FA_LEFT(rcu_self),
	FA_LEFT(user),
	/* in shapes that are easily taken for something else */
	FA_LEFT(timer_array),
	FA_LEFT(chain),
	FA_LEFT(lookalike),
	FA_LEFT(unowned),
	FA_LEFT(reader),
};

bool fa_fault = true;
module_param_named(fault, fa_fault, bool, 0444);
MODULE_PARM_DESC(fault, "get stuck (default: on); give it before scenario");

static bool fa_release;
module_param_named(release, fa_release, bool, 0644);
MODULE_PARM_DESC(release, "write 1 to let a slow init return");

static bool fa_hold;
module_param_named(hold, fa_hold, bool, 0444);
MODULE_PARM_DESC(hold, "init waits for release before it gets stuck (default: off)");

static const struct fa_row *fa_row;

bool fa_released(void)
{
	return READ_ONCE(fa_release);
}

static void fa_die(void)
{
	pr_info("scenario %s: gets stuck\n", fa_row->name);
	if (fa_row->die)
		fa_row->die();
	else
		fa_die_null();
}

static int fa_scenario_set(const char *value, const struct kernel_param *param)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fa_rows); i++)
		if (!strcmp(fa_rows[i].name, value))
			fa_row = &fa_rows[i];

	if (!fa_row)
		return -EINVAL;

	if (fa_fault && fa_row->place == FA_IN_SETTER)
		fa_die();

	return 0;
}

static int fa_scenario_get(char *buffer, const struct kernel_param *param)
{
	return sprintf(buffer, "%s\n", fa_row ? fa_row->name : "");
}

static const struct kernel_param_ops fa_scenario_ops = {
	.set = fa_scenario_set,
	.get = fa_scenario_get,
};

module_param_cb(scenario, &fa_scenario_ops, NULL, 0444);
MODULE_PARM_DESC(scenario, "name of a row of the table in main.c");

static int __init fa_init(void)
{
	int ret;

	if (!fa_row)
		return 0;

	if (fa_row->start) {
		ret = fa_row->start();
		if (ret) {
			pr_err("scenario %s: cannot be set up: %d\n", fa_row->name, ret);
			return ret;
		}
	}

	pr_info("scenario %s: set up\n", fa_row->name);
	while (fa_hold && !fa_released())
		msleep(50);
	if (fa_fault && fa_row->place == FA_IN_INIT)
		fa_die();

	return 0;
}

static void __exit fa_exit(void)
{
	if (!fa_row)
		return;

	if (fa_fault && fa_row->place == FA_IN_EXIT)
		fa_die();

	if (fa_row->stop)
		fa_row->stop();
	pr_info("scenario %s: taken down\n", fa_row->name);
}

module_init(fa_init);
module_exit(fa_exit);

MODULE_DESCRIPTION("Breaks on purpose, in many ways");
MODULE_LICENSE("GPL");
