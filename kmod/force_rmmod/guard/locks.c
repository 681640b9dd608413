// SPDX-License-Identifier: GPL-2.0-only
/*
 * locks.c - locks that current held when its call died
 *
 * They are its own still, so it may release them. There is no list of what a
 * task holds: looked at are the locks below, under which the kernel calls
 * modules or reads what they hand over, that which the undoing itself takes, and
 * those of all devices. That of a half-probed device goes when the probe is undone
 * (undo/probe.c).
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "guard/guard.h"
#include "kernel/kernel.h"
#include "undo/undo.h"

/* In the order in which they are released: what is taken inside others first. */
#define FR_MUTEXES(m) \
	m(module_mutex) m(chrdevs_lock) m(misc_mtx) m(slab_mutex) m(wq_pool_mutex) m(kprobe_mutex) \
	m(input_mutex) m(cpuhp_state_mutex) m(rtnl_mutex)

struct fr_mutex {
	const char *name;
	struct mutex *lock;	/* NULL: the kernel has none */
};

#define FR_MUTEX_ROW(name) { #name, NULL },
static struct fr_mutex fr_mutexes[] = { FR_MUTEXES(FR_MUTEX_ROW) };
static struct rw_semaphore *fr_locks_nets;

#define FR_MUTEX_FIND(name) (mutex++)->lock = fr_lookup(#name, sizeof(struct mutex));

/* A look-up takes kprobe_mutex, which the dead may hold. */
void fr_locks_init(void)
{
	struct fr_mutex *mutex = fr_mutexes;

	FR_MUTEXES(FR_MUTEX_FIND)
	fr_locks_nets = fr_lookup("pernet_ops_rwsem", sizeof(struct rw_semaphore));
}

static void fr_locks_tell(char *text, size_t size, const char *what, const char *name)
{
	pr_warn("guard: released: %s %s, which was held\n", what, name);
	strlcat(text, *text ? ", " : "", size);
	strlcat(text, what, size);
	strlcat(text, " ", size);
	strlcat(text, name, size);
}

static bool fr_locks_is_held(const struct mutex *lock)
{
	return compat_mutex_owner(lock) == (unsigned long)current;
}

struct fr_locks_walk {
	struct module *victim;
	struct device *dev;
};

static int fr_locks_device(struct device *dev, void *data)
{
	struct fr_locks_walk *walk = data;

	if (!fr_locks_is_held(&dev->mutex) || fr_probe_is_half(dev, walk->victim))
		return 0;

	walk->dev = get_device(dev);
	return 1;
}

void fr_locks_release(struct module *victim, char *text, size_t size)
{
	struct fr_locks_walk walk = { victim, NULL };
	struct mutex *lock;
	size_t i;

	while (fr_devices_each(fr_locks_device, &walk)) {
		fr_locks_tell(text, size, "lock of device", dev_name(walk.dev));
		device_unlock(walk.dev);
		put_device(walk.dev);
	}

	for (i = 0; i < ARRAY_SIZE(fr_mutexes); i++) {
		lock = fr_mutexes[i].lock;
		if (!lock || !fr_locks_is_held(lock))
			continue;
		fr_locks_tell(text, size, "lock", fr_mutexes[i].name);
		mutex_unlock(lock);
	}

	if (fr_locks_nets && compat_rwsem_writer(fr_locks_nets) == (unsigned long)current) {
		fr_locks_tell(text, size, "lock", "pernet_ops_rwsem");
		up_write(fr_locks_nets);
	}
}

void fr_locks_release_params(struct module *mod)
{
	if (fr_locks_is_held(&mod->param_lock))
		kernel_param_unlock(mod);
}
