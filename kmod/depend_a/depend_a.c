// SPDX-License-Identifier: GPL-2.0-only
/*
 * depend_a - one of the two users of depend_s, and of two of its functions
 *
 *	insmod depend_s.ko; insmod depend_a.ko
 *	insmod depend_a.ko error=5	init fails with EIO
 *
 * As long as it is loaded, /sys/module/depend_s/holders/depend_a exists and
 * depend_s cannot be removed; that it uses two functions makes no difference.
 * Loading it without depend_s fails with ENOENT ("Unknown symbol ...").
 *
 * The log shows the call into depend_s, then "loaded" and "unloaded".
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "../depend_s/depend_s.h"

static int depend_a_error;
module_param_named(error, depend_a_error, int, 0444);
MODULE_PARM_DESC(error, "errno with which init fails");

static int __init depend_a_init(void)
{
	depend_s_call(KBUILD_MODNAME);
	if (depend_a_error)
		return -depend_a_error;
	pr_info("loaded, call %d\n", depend_s_calls_made());
	return 0;
}

static void __exit depend_a_exit(void)
{
	pr_info("unloaded\n");
}

module_init(depend_a_init);
module_exit(depend_a_exit);

MODULE_DESCRIPTION("User A of the functions that depend_s exports");
MODULE_LICENSE("GPL");
