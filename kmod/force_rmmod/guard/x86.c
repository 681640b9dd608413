// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86.c - come back from a call that died
 *
 * The exception's return goes to the landing, with the stack pointer that the
 * call began with. All registers but the frame pointer are said to be lost by
 * the call, so the compiler keeps on the stack what it needs of them.
 */
#include <linux/bug.h>
#include <linux/kernel.h>
#include <linux/ptrace.h>

#include <asm/asm.h>
#include <asm/cpufeature.h>
#include <asm/processor-flags.h>

#include "guard/guard.h"

int fr_landing_init(void)
{
	return 0;
}

/* Called below, where the compiler does not see it. */
int fr_landing_enter(int (*fn)(void *data), void *data);

int fr_landing_enter(int (*fn)(void *data), void *data)
{
	return fn(data);
}

int fr_landing_call(struct fr_landing *landing, int (*fn)(void *data), void *data)
{
	int ret;

	asm volatile("movq %%rsp, %c[sp](%%rdx)\n\t"
		     "movq %%rbp, %c[fp](%%rdx)\n\t"
		     "leaq 1f(%%rip), %%rax\n\t"
		     "movq %%rax, %c[ip](%%rdx)\n\t"
		     "call fr_landing_enter\n"
		     "1:"
		     : "=a" (ret), "+D" (fn), "+S" (data), "+d" (landing), ASM_CALL_CONSTRAINT
		     : [ip] "i" (offsetof(struct fr_landing, ip)),
		       [sp] "i" (offsetof(struct fr_landing, sp)),
		       [fp] "i" (offsetof(struct fr_landing, fp))
		     : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		       "memory", "cc");

	return ret;
}

/* Where the exception of fr_landing_leave() was made. */
static unsigned long fr_landing_left;

/* The exception's return goes elsewhere: an indirect call of what is not exported may trap. */
void __noreturn fr_landing_leave(void)
{
	asm volatile("leaq 1f(%%rip), %%rax\n\t"
		     "movq %%rax, %0\n\t"
		     "int3\n"
		     "1:"
		     : "=m" (fr_landing_left) : : "rax");
	BUG();
}

bool fr_landing_is_leaving(const struct pt_regs *regs)
{
	return fr_landing_left && regs->ip == fr_landing_left;
}

void fr_landing_go(struct pt_regs *regs, unsigned long function, unsigned long argument)
{
	regs->ip = function;
	regs->di = argument;
	regs->flags |= X86_EFLAGS_IF;
}

/*
 * Access to user space is over, and strings go upwards again. FRED remembers that
 * an indirect call was still to find its ENDBR: the landing has none.
 */
void fr_landing_redirect(const struct fr_landing *landing, struct pt_regs *regs, int ret)
{
	regs->ip = landing->ip;
	regs->sp = landing->sp;
	regs->bp = landing->fp;
	regs->ax = ret;
	regs->flags &= ~(X86_EFLAGS_AC | X86_EFLAGS_DF);
#ifdef CONFIG_X86_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED))
		regs->fred_cs.wfe = 0;
#endif
}
