// SPDX-License-Identifier: GPL-2.0-only
/*
 * guard_none.c - architectures on which nothing comes back from an oops yet
 *
 * A new one takes a file such as guard_x86.c, and its line in Kbuild. Of arm64 is
 * known that die() returns if a notifier says NOTIFY_STOP, but that whoever called
 * it for a bad access calls make_task_dead() all the same, and for BUG() steps over
 * one instruction: there, the landing has to be reached from a probe on
 * make_task_dead().
 */
#include <linux/errno.h>
#include <linux/kernel.h>

#include "guard.h"

int fr_landing_init(void)
{
	pr_err("refused: no guard for this architecture\n");
	return -EOPNOTSUPP;
}

int fr_landing_call(struct fr_landing *landing, int (*fn)(void *data), void *data)
{
	return fr_landing_enter(fn, data);
}

void fr_landing_redirect(const struct fr_landing *landing, struct pt_regs *regs, int ret)
{
}
