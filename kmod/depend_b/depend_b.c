// SPDX-License-Identifier: GPL-2.0-only
/*
 * depend_b - one of the two users of depend_s
 *
 *	insmod depend_s.ko; insmod depend_b.ko
 *
 * As long as it is loaded, /sys/module/depend_s/holders/depend_b exists and
 * depend_s cannot be removed. Loading it without depend_s fails with ENOENT
 * ("Unknown symbol depend_s_call").
 *
 * The log shows the call into depend_s, then "loaded" and "unloaded".
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

#include "../depend_s/depend_s.h"

static int __init depend_b_init(void)
{
	depend_s_call(KBUILD_MODNAME);
	pr_info("loaded\n");
	return 0;
}

static void __exit depend_b_exit(void)
{
	pr_info("unloaded\n");
}

module_init(depend_b_init);
module_exit(depend_b_exit);

MODULE_DESCRIPTION("User B of the functions that depend_s exports");
MODULE_LICENSE("GPL");
