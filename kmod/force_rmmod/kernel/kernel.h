/* SPDX-License-Identifier: GPL-2.0-only */
/* kernel.h - of the kernel what it does not export: variables, layouts, stacks, devices */
#ifndef FORCE_RMMOD_KERNEL_H
#define FORCE_RMMOD_KERNEL_H

#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/types.h>

struct device;
struct kernfs_node;
struct mutex;
struct task_struct;

/* peek.c: copies memory that may not be there, or tells that it is not. */
bool fr_peek(void *to, const void *from, size_t size);

/*
 * lookup.c: the address of a variable that the kernel does not export, of at
 * least size bytes, or NULL. For data only. The name is listed in .modinfo, for
 * whoever hands addresses over.
 */
#define fr_lookup(symbol, size) ({ \
	FR_SYMBOL(symbol); \
	fr_lookup_name(symbol, size); \
})
#define FR_SYMBOL(name) MODULE_INFO(symbol, name)

void *fr_lookup_name(const char *symbol, size_t size);

/* The same of a variable that not every kernel has: NULL is no error then. */
#define fr_lookup_maybe(symbol, size) ({ \
	FR_SYMBOL(symbol); \
	fr_lookup_quietly(symbol, size); \
})
void *fr_lookup_quietly(const char *symbol, size_t size);

/* Gives back what was allocated to make look-ups fast; any can still follow. */
void fr_lookup_forget(void);

/*
 * layout.c: 0, or -EOPNOTSUPP for a kernel whose private structures nobody has
 * compared with compat.h, or, told by who finds out, one that is another.
 */
int fr_layout_check(bool force);
int fr_layout_unknown(const char *structure);

/* What must be so of what may be something else: any address can be asked. */
bool fr_layout_is_word(const void *address, const void *value);
bool fr_layout_is_listed(const struct list_head *node);
bool fr_layout_is_string(const char *address, const char *expected);
bool fr_layout_is_named(const char *const *pointer, const char *expected);

/*
 * tasks.c: what is on the stacks of the living. A task counts if fn says so of
 * any word of its stack that is in use; each() is called for it.
 */
struct fr_stack_query {
	bool (*match)(unsigned long word, bool waiting, const void *data);
	const void *data;
	/* May be NULL: tasks that do not count at all. */
	bool (*skip)(struct task_struct *task, const void *data);
};

int fr_tasks_count(const struct fr_stack_query *query,
		   void (*each)(struct task_struct *task, const void *data));

/* Whether, for a while, always some task counts: one that runs shows traces of earlier calls. */
bool fr_tasks_stay(const struct fr_stack_query *query);

void fr_tasks_print_stack(struct task_struct *task);

/* Whether, for a while, always somebody living has an address in a range on the stack. */
bool fr_tasks_hold(const void *start, size_t size);

enum fr_lock {
	FR_LOCK_FREE,
	FR_LOCK_HELD,
	FR_LOCK_DEAD,	/* its owner died with it */
};

/* Whether the owner of a lock can be told at all. */
bool fr_tasks_knows_locks(void);

/* Judged by the owner and by who has an address of the object on the stack. */
enum fr_lock fr_tasks_lock(const struct mutex *lock, const void *object, size_t size);

/* Whether a lock can be had within a second; it is not held on return. */
bool fr_tasks_can_lock(struct mutex *lock, const char *name);

/*
 * Tries for a second what must not wait for the dead: an expression that takes a
 * lock and tells whether it has got it.
 */
#define fr_try(taken) ({ \
	bool taken_ = false; \
	int round_; \
	for (round_ = 0; round_ < 50 && !taken_; round_++) { \
		taken_ = (taken); \
		if (!taken_) \
			msleep(20); \
	} \
	taken_; \
})

/* devices.c: all registered devices, under a spinlock. */
int fr_devices_each(int (*fn)(struct device *dev, void *data), void *data);

/* Larger for what came to be in sysfs later; 0: it is not there. */
u64 fr_devices_order(const struct kernfs_node *node);

#endif
