/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - what differs between kernels and between architectures
 *
 * Force-included by every Kbuild of this folder. The modules are written for
 * the newest kernel (7.3); what an older one lacks is supplied here, each shim
 * with the change that made it necessary. What a module needs to know of the
 * kernel's private structures is here too, since that also ages by version.
 */
#ifndef KMOD_COMPAT_H
#define KMOD_COMPAT_H

/* Before any header: printk.h defines its own where there is none. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <linux/unistd.h>
#include <linux/version.h>

/*
 * ac3b43283923 ("module: replace module_layout with module_memory") (in v6.4):
 * before, a module had two areas, each cut into ranges by running totals:
 * text | rodata | read-only after init | data.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
enum mod_mem_type {
	MOD_TEXT,
	MOD_DATA,
	MOD_RODATA,
	MOD_RO_AFTER_INIT,
	MOD_INIT_TEXT,
	MOD_INIT_DATA,
	MOD_INIT_RODATA,
	MOD_MEM_NUM_TYPES,
};

static inline void *compat_module_mem(const struct module *mod, enum mod_mem_type type,
				      size_t *size)
{
	const struct module_layout *core = &mod->core_layout;
	const struct module_layout *init = &mod->init_layout;

	switch (type) {
	case MOD_TEXT:
		*size = core->text_size;
		return core->base;
	case MOD_RODATA:
		*size = core->ro_size - core->text_size;
		return core->base + core->text_size;
	case MOD_RO_AFTER_INIT:
		*size = core->ro_after_init_size - core->ro_size;
		return core->base + core->ro_size;
	case MOD_DATA:
#ifdef CONFIG_ARCH_WANTS_MODULES_DATA_IN_VMALLOC
		*size = mod->data_layout.size;
		return mod->data_layout.base;
#else
		*size = core->size - core->ro_after_init_size;
		return core->base + core->ro_after_init_size;
#endif
	case MOD_INIT_TEXT:
		*size = init->text_size;
		return init->base;
	case MOD_INIT_RODATA:
		*size = init->ro_size - init->text_size;
		return init->base + init->text_size;
	case MOD_INIT_DATA:
		*size = init->size - init->ro_size;
		return init->base + init->ro_size;
	default:
		*size = 0;
		return NULL;
	}
}

static inline bool within_module_mem_type(unsigned long addr, const struct module *mod,
					  enum mod_mem_type type)
{
	size_t size;
	void *base = compat_module_mem(mod, type, &size);

	return addr - (unsigned long)base < size;
}
#else
static inline void *compat_module_mem(const struct module *mod, enum mod_mem_type type,
				      size_t *size)
{
	*size = mod->mem[type].size;
	return mod->mem[type].base;
}
#endif

/*
 * 2f064a59a11f ("sched: Change task_struct::state") (in v5.14) renamed the
 * field.
 */
static inline unsigned int compat_task_state(const struct task_struct *task)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	return READ_ONCE(task->state);
#else
	return READ_ONCE(task->__state);
#endif
}

/* A kernel for one processor has no on_cpu: only current runs there. */
static inline bool compat_task_on_cpu(const struct task_struct *task)
{
#ifdef CONFIG_SMP
	return READ_ONCE(task->on_cpu);
#else
	return task == current;
#endif
}

/* The reference that every module starts with (kernel/module/main.c). */
#ifndef MODULE_REF_BASE
#define MODULE_REF_BASE 1
#endif

/*
 * One user of a module, as it hangs in the used module's source_list. Own name,
 * since bb02f22eaabc ("module: move 'struct module_use' to internal.h") took the
 * kernel's out of the public headers; the layout is the same in all versions.
 */
struct compat_module_use {
	struct list_head source_list;
	struct list_head target_list;
	struct module *source;
	struct module *target;
};

/*
 * 9b9879fc0327 ("modules: catch concurrent module loads, treat them as
 * idempotent") (in v6.5): finit_module() keeps an entry on its own stack for
 * every load in progress, in idem_hash[], guarded by idem_lock. Private to
 * kernel/module/main.c; same layout up to v7.3.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define COMPAT_HAVE_IDEMPOTENT 1
#else
#define COMPAT_HAVE_IDEMPOTENT 0
#endif

#define COMPAT_IDEM_HASH_BITS 8

struct compat_idempotent {
	const void *cookie;
	struct hlist_node entry;
	struct completion complete;
	int ret;
};

/*
 * Architectures: a block here is all that a new one needs.
 *
 * compat_task_sp()	  stack pointer of a task that is not running
 * compat_is_finit_module() whether a system call number is finit_module's
 */
#if defined(CONFIG_X86_64)
static inline unsigned long compat_task_sp(const struct task_struct *task)
{
	return READ_ONCE(task->thread.sp);
}

/* 350 is the number of 32-bit callers; their table is not in the headers. */
static inline bool compat_is_finit_module(long nr)
{
	return nr == __NR_finit_module || (IS_ENABLED(CONFIG_IA32_EMULATION) && nr == 350);
}
#elif defined(CONFIG_ARM64)
static inline unsigned long compat_task_sp(const struct task_struct *task)
{
	return READ_ONCE(task->thread.cpu_context.sp);
}

static inline bool compat_is_finit_module(long nr)
{
	return nr == __NR_finit_module || (IS_ENABLED(CONFIG_COMPAT) && nr == 379);
}
#else
#error "this architecture has no block in compat.h yet"
#endif

#endif /* KMOD_COMPAT_H */
