// SPDX-License-Identifier: GPL-2.0-only
/*
 * depend_s - the module that depend_a and depend_b need
 *
 *	insmod depend_s.ko; insmod depend_a.ko; insmod depend_b.ko
 *	lsmod | grep depend	("depend_s ... 2 depend_b,depend_a")
 *	rmmod depend_s		(EWOULDBLOCK, "in use", until both are gone)
 *
 * The kernel resolves the exported functions when a user is loaded and ties the
 * two with one struct module_use, however many of the functions it uses: that
 * link, not a call, pins this module. It is also seen in
 * /sys/module/depend_s/holders.
 *
 * The log shows one line for loading, one a call, one for unloading.
 */
#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

#include "depend_s.h"

static atomic_t depend_s_calls = ATOMIC_INIT(0);

int depend_s_call(const char *user)
{
	int calls = atomic_inc_return(&depend_s_calls);

	pr_info("call %d, from %s\n", calls, user);
	return calls;
}
EXPORT_SYMBOL_GPL(depend_s_call);

int depend_s_calls_made(void)
{
	return atomic_read(&depend_s_calls);
}
EXPORT_SYMBOL_GPL(depend_s_calls_made);

static int __init depend_s_init(void)
{
	pr_info("loaded\n");
	return 0;
}

static void __exit depend_s_exit(void)
{
	pr_info("unloaded after %d calls\n", depend_s_calls_made());
}

module_init(depend_s_init);
module_exit(depend_s_exit);

MODULE_DESCRIPTION("Exports functions that pin this module");
MODULE_LICENSE("GPL");
