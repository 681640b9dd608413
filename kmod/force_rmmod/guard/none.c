// SPDX-License-Identifier: GPL-2.0-only
/*
 * none.c - architectures on which nothing comes back from an oops yet
 *
 * A new one takes a file such as guard/x86.c, and its line in Kbuild. Of arm64 is
 * known (traps.c, fault.c, entry-common.c; read for 5.15, 6.12 and 6.16, never tried):
 *
 *  - die() asks the notifiers before it prints registers and stack. If one says
 *    NOTIFY_STOP it prints neither, and returns; but with panic_on_oops it panics,
 *    whatever they say.
 *  - After a bad access ("Oops") die_kernel_fault() calls make_task_dead() even if
 *    die() has returned: there, and only there, the landing has to be reached from a
 *    probe on make_task_dead(). The notifier need not say NOTIFY_STOP then, and the
 *    report is whole.
 *  - BUG() and a failed CFI check have to return through their exception, which has
 *    counted itself in preempt_count and for RCU: NOTIFY_STOP, and regs->pc one
 *    instruction before the landing, since one is stepped over. After an undefined
 *    instruction, BTI, PAC and UBSAN none is.
 *  - pstate must lose BTYPE, and x18 is to be put back if it is the shadow stack.
 */
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>

#include "facts.h"
#include "guard/guard.h"

int fr_landing_init(void)
{
	fr_tell(FR_REFUSED, "no guard for this architecture");
	return -EOPNOTSUPP;
}

int fr_landing_call(struct fr_landing *landing, int (*fn)(void *data), void *data)
{
	return fn(data);
}

void fr_landing_redirect(const struct fr_landing *landing, struct pt_regs *regs, int ret)
{
}

void __noreturn fr_landing_leave(void)
{
	BUG();
}

bool fr_landing_is_leaving(const struct pt_regs *regs)
{
	return false;
}

void fr_landing_go(struct pt_regs *regs, unsigned long function, unsigned long argument)
{
}
