// SPDX-License-Identifier: GPL-2.0-only
/*
 * retire.c - a victim that cannot be proven dead gets another name, and stays
 *
 * What may still be called must not be freed. So the victim is renamed in place, "vms"
 * to "vms~1", and stays GOING for ever: nobody gets a new reference to it, rmmod and
 * rmmod -f answer EBUSY, and what was left of it runs on memory that is there. The
 * name it had is free again, for every way of loading.
 *
 * Each step is needed, and in this order; all but the last under module_mutex, so that
 * no insmod of the old name is between its check of the name and its directory:
 *
 *  - a name that neither the list of modules nor /sys/module has,
 *  - the directory in /sys/module, and the links to it in the holders of those it uses,
 *  - its types in /sys/kernel/btf,
 *  - its exported symbols, which the next one would be told to duplicate,
 *  - no exit, and a reference, should anybody make it live again,
 *  - the name, last, and whoever waits for it,
 *  - its trace events, by name in tracefs, and finit_module()'s table.
 *
 * What is linked to the victim keeps it and goes on calling it. Who has one of its
 * symbols by symbol_get() would give back another module's: see fr_retire_check().
 */
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/trace_events.h>
#include <linux/wait.h>

#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_GHOSTS 100000

bool fr_retire_is_ghost(const struct module *victim)
{
	const char *tail = strrchr(victim->name, '~');
	unsigned int number;

	return tail && !kstrtouint(tail + 1, 10, &number) && !victim->exit &&
	       READ_ONCE(victim->state) == MODULE_STATE_GOING;
}

static bool fr_retire_is_taken(const struct list_head *modules, const char *name)
{
	const struct module *mod;
	struct kobject *kobj;

	list_for_each_entry(mod, modules, list)
		if (!strcmp(mod->name, name))
			return true;

	kobj = kset_find_obj(THIS_MODULE->mkobj.kobj.kset, name);
	kobject_put(kobj);
	return kobj;
}

/* "vms~1"; of a name that is too long with that the end is cut. */
static int fr_retire_name(const struct list_head *modules, const char *base, char *name)
{
	unsigned int number;
	char tail[12];
	int length;

	for (number = 1; number < FR_GHOSTS; number++) {
		length = snprintf(tail, sizeof(tail), "~%u", number);
		snprintf(name, MODULE_NAME_LEN, "%.*s%s", (int)(MODULE_NAME_LEN - 1 - length), base,
			 tail);
		if (!fr_retire_is_taken(modules, name))
			return 0;
	}

	return -EEXIST;
}

static void fr_retire_types(const char *name)
{
#ifdef CONFIG_DEBUG_INFO_BTF_MODULES
	struct kobject **types = fr_lookup_maybe("btf_kobj", sizeof(*types));
	struct bin_attribute file = { .attr.name = name };

	if (types && *types)
		sysfs_remove_bin_file(*types, &file);
#endif
}

static void fr_retire_links(struct module *victim, const char *old, const char *new)
{
	struct compat_module_use *use;

	list_for_each_entry(use, &victim->target_list, target_list)
		if (use->target->holders_dir &&
		    sysfs_rename_link(use->target->holders_dir, &victim->mkobj.kobj, old, new))
			pr_warn("the holders of %s show %s still\n", use->target->name, old);
}

/* With module_mutex. */
static int fr_retire_rename(struct module *victim, struct list_head *modules, char *old, char *new)
{
	int ret;

	strscpy(old, victim->name, MODULE_NAME_LEN);
	ret = fr_retire_name(modules, old, new);
	if (!ret && victim->mkobj.kobj.state_initialized)
		ret = kobject_rename(&victim->mkobj.kobj, new);
	if (ret)
		return ret;

	WRITE_ONCE(victim->state, MODULE_STATE_GOING);
	if (victim->mkobj.kobj.state_initialized)
		fr_retire_links(victim, old, new);
	fr_retire_types(old);
	compat_module_hide_exports(victim);
	victim->exit = NULL;
	atomic_inc(&victim->refcnt);
	strscpy(victim->name, new, sizeof(victim->name));
	return 0;
}

/* One that is switched on stays; it takes a lock that a dead task may have. */
static void fr_retire_events(struct module *victim)
{
#if defined(CONFIG_EVENT_TRACING) && COMPAT_HAVE_REMOVE_EVENT
	struct mutex *lock = fr_lookup_maybe("event_mutex", sizeof(*lock));
	unsigned int i;

	if (!victim->num_trace_events || !lock || !fr_tasks_can_lock(lock, "event_mutex"))
		return;
	for (i = 0; i < victim->num_trace_events; i++)
		trace_remove_event_call(victim->trace_events[i]);
#endif
}

static size_t fr_retire_size(const struct module *victim)
{
	size_t size, all = 0;
	int type;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++)
		if (compat_module_mem(victim, type, &size))
			all += size;

	return all;
}

/* Who has a symbol of it without being linked to it gives it back by name, later. */
int fr_retire_check(struct module *victim)
{
	struct compat_module_use *use;
	int refs = module_refcount(victim);

	if (READ_ONCE(victim->state) == MODULE_STATE_COMING)
		refs--;
	list_for_each_entry(use, &victim->source_list, source_list)
		refs--;
	if (refs <= 0 || !compat_module_exports(victim))
		return 0;

	fr_tell(FR_REFUSED, "somebody may have a symbol of %s (symbol_get): remove the module that has, or reboot",
	       victim->name);
	return -EBUSY;
}

int fr_retire(struct module *victim)
{
	wait_queue_head_t *waiters = fr_lookup("module_wq", sizeof(*waiters));
	struct list_head *modules = fr_lookup("modules", sizeof(*modules));
	struct mutex *lock = fr_lookup("module_mutex", sizeof(*lock));
	char old[MODULE_NAME_LEN], new[MODULE_NAME_LEN];
	int ret;

	if (!waiters || !modules || !lock)
		return -EOPNOTSUPP;

	mutex_lock(lock);
	ret = fr_retire_rename(victim, modules, old, new);
	if (!ret)
		wake_up_all(waiters);
	mutex_unlock(lock);
	if (ret) {
		fr_tell(FR_REFUSED, "%s cannot be given another name: %d", victim->name, ret);
		return ret;
	}

	fr_retire_events(victim);
	fr_loader_repair();
	fr_tell(FR_RETIRED, "%s is %s now, and stays (%zu KiB) until it is proven dead, or the next boot; insmod %s works again",
		old, new, fr_retire_size(victim) >> 10, old);
	return 0;
}
