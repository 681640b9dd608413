// SPDX-License-Identifier: GPL-2.0-only
/*
 * victim.c - the module to be rescued: find it, describe it, judge it, reset it
 *
 * It is found on the kernel's list of modules. Its directory in /sys/module pins
 * the memory of the module: rmmod waits for it before it frees anything. A module
 * that died before its directory came to be, in the setter of a parameter, cannot
 * be pinned; nobody frees it either, since rmmod refuses whatever is not live. One
 * whose setter is only slow may go: it is looked for on the list each time.
 */
#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#ifndef CONFIG_MODULE_UNLOAD
#error "a kernel without CONFIG_MODULE_UNLOAD can remove no module at all"
#endif

static struct mutex *fr_module_mutex;
static struct list_head *fr_modules;

static struct module *fr_victim_on_list(const char *name)
{
	struct module *mod;

	list_for_each_entry(mod, fr_modules, list)
		if (!strcmp(mod->name, name))
			return mod;

	return NULL;
}

/* What is built in has a directory in /sys/module, if it has parameters. */
static void fr_victim_missing(const char *name)
{
	struct kobject *kobj = kset_find_obj(THIS_MODULE->mkobj.kobj.kset, name);

	if (kobj)
		fr_tell(FR_REFUSED, "%s is built into the kernel", name);
	else
		fr_tell(FR_REFUSED, "no module %s is loaded", name);

	kobject_put(kobj);
}

int fr_victim_resolve(void)
{
	fr_module_mutex = fr_lookup("module_mutex", sizeof(*fr_module_mutex));
	fr_modules = fr_lookup("modules", sizeof(*fr_modules));

	return fr_module_mutex && fr_modules ? 0 : -EOPNOTSUPP;
}

int fr_victim_each(int (*fn)(struct module *mod, void *data), void *data)
{
	struct module *mod;
	int ret = 0;

	mutex_lock(fr_module_mutex);
	list_for_each_entry(mod, fr_modules, list) {
		ret = fn(mod, data);
		if (ret)
			break;
	}
	mutex_unlock(fr_module_mutex);

	return ret;
}

/* Whether it can be looked at; one that is pinned stays. */
static int fr_victim_pin(struct fr_rescue *rescue)
{
	struct module *victim = rescue->victim;
	struct kobject *kobj = &victim->mkobj.kobj;

	rescue->pinned = kobj->state_initialized && kobject_get_unless_zero(kobj);
	if (victim->state != MODULE_STATE_UNFORMED && rescue->pinned == kobj->state_initialized)
		return 0;

	fr_tell(FR_REFUSED, "%s is just being set up or freed", victim->name);
	fr_victim_put(rescue);
	return -EBUSY;
}

int fr_victim_find(struct fr_rescue *rescue, const char *name)
{
	int ret;

	ret = fr_victim_resolve();
	if (ret)
		return ret;

	if (mutex_lock_killable(fr_module_mutex))
		return -EINTR;

	rescue->victim = fr_victim_on_list(name);
	ret = rescue->victim ? fr_victim_pin(rescue) : -ENOENT;
	mutex_unlock(fr_module_mutex);

	if (!rescue->victim)
		fr_victim_missing(name);

	return ret;
}

/* Takes the lock of all modules, if the victim is still one. */
static int fr_victim_lock(const struct module *victim)
{
	const struct module *mod;

	if (mutex_lock_killable(fr_module_mutex))
		return -EINTR;

	list_for_each_entry(mod, fr_modules, list)
		if (mod == victim)
			return 0;

	mutex_unlock(fr_module_mutex);
	fr_tell(FR_REFUSED, "the target went away while it was looked at");
	return -ENOENT;
}

void fr_victim_put(struct fr_rescue *rescue)
{
	if (rescue->pinned)
		kobject_put(&rescue->victim->mkobj.kobj);
	rescue->pinned = false;
}

static const char *fr_victim_state(enum module_state state)
{
	switch (state) {
	case MODULE_STATE_LIVE:
		return "live";
	case MODULE_STATE_COMING:
		return "loading (init has not returned)";
	case MODULE_STATE_GOING:
		return "unloading (exit has not returned)";
	case MODULE_STATE_UNFORMED:
		return "unformed (being set up or freed)";
	}

	return "unknown";
}

int fr_victim_describe(struct fr_rescue *rescue)
{
	struct module *victim = rescue->victim;
	struct compat_module_use *use;
	int ret;

	ret = fr_victim_lock(victim);
	if (ret)
		return ret;

	fr_tell(FR_TARGET, "%s", victim->name);
	fr_tell(FR_STATE, "%s", fr_victim_state(victim->state));
	fr_tell_refcount(module_refcount(victim));
	if (list_empty(&victim->source_list))
		pr_info("used by: no module\n");
	list_for_each_entry(use, &victim->source_list, source_list) {
		if (!fr_layout_is_word(&use->target, victim)) {
			ret = fr_layout_unknown("module_use");
			break;
		}
		fr_tell(FR_USED_BY, "%s", use->source->name);
	}
	if (list_empty(&victim->target_list))
		pr_info("uses: no module\n");
	list_for_each_entry(use, &victim->target_list, target_list) {
		if (!fr_layout_is_word(&use->source, victim)) {
			ret = fr_layout_unknown("module_use");
			break;
		}
		fr_tell(FR_USES, "%s", use->target->name);
	}

	mutex_unlock(fr_module_mutex);
	return ret;
}

static int fr_victim_judge_live(const struct module *victim, int refs)
{
	if (victim->init && !victim->exit && !refs) {
		pr_warn("%s is alive, but has no exit function: only what is listed below gets undone\n",
			victim->name);
		return FR_STUCK;
	}

	return refs > 0 ? FR_LEAKED : FR_SOUND;
}

static int fr_victim_judge_locked(struct module *victim)
{
	int refs = module_refcount(victim);

	if (!list_empty(&victim->source_list)) {
		fr_tell(FR_REFUSED, "other modules use %s", victim->name);
		return -EBUSY;
	}

	switch (victim->state) {
	case MODULE_STATE_LIVE:
		return fr_victim_judge_live(victim, refs);
	case MODULE_STATE_COMING:
		/* One is the loader's own, for as long as init runs. */
		if (refs > 1)
			pr_warn("%d references besides the loader's will be forgotten\n",
				refs - 1);
		return FR_STUCK;
	case MODULE_STATE_GOING:
		return FR_STUCK;
	default:
		fr_tell(FR_REFUSED, "%s is just being set up or freed", victim->name);
		return -EBUSY;
	}
}

int fr_victim_judge(struct fr_rescue *rescue)
{
	struct module *victim = rescue->victim;
	int ret;

	ret = fr_victim_lock(victim);
	if (ret)
		return ret;

	ret = fr_victim_judge_locked(victim);
	mutex_unlock(fr_module_mutex);
	return ret;
}

/*
 * GOING is the one state in which whoever asks gets no new reference; COMING does
 * give them out. What was judged must still be so.
 */
int fr_victim_quarantine(struct module *victim, int state, int refs)
{
	int ret;

	ret = fr_victim_lock(victim);
	if (ret)
		return ret;

	if (victim->state != state || !list_empty(&victim->source_list) ||
	    module_refcount(victim) > refs) {
		fr_tell(FR_REFUSED, "%s changed while it was looked at", victim->name);
		ret = -EBUSY;
	} else {
		WRITE_ONCE(victim->state, MODULE_STATE_GOING);
	}

	mutex_unlock(fr_module_mutex);
	return ret;
}

void fr_victim_release(struct module *victim, int state)
{
	mutex_lock(fr_module_mutex);
	WRITE_ONCE(victim->state, state);
	mutex_unlock(fr_module_mutex);
}

/*
 * One that died before it had a directory in sysfs would take rmmod with it, in
 * putting an object that nobody has initialised.
 */
static int fr_victim_complete(struct module *victim)
{
	struct module_attribute *none;

	if (victim->mkobj.kobj.state_initialized)
		return 0;

	/* rmmod walks this array, which ends at an entry without a name. */
	none = victim->modinfo_attrs ? NULL : kzalloc(sizeof(*none), GFP_KERNEL);
	if (none)
		victim->modinfo_attrs = none;
	if (!victim->modinfo_attrs)
		return -ENOMEM;

	/* All modules' objects are of one type, which is not exported. */
	kobject_init(&victim->mkobj.kobj, (struct kobj_type *)THIS_MODULE->mkobj.kobj.ktype);
	victim->mkobj.mod = victim;
	fr_tell(FR_UNDO, "%s never came to be in sysfs; made good for rmmod", victim->name);
	return 0;
}

/*
 * Without init, delete_module() does not ask for an exit function, so none has
 * to be lent to the victim. The count must be the base, not 0: delete_module()
 * takes the base off and BUG()s below zero. A victim of sound mind keeps its own
 * exit.
 */
int fr_victim_reset(struct module *victim, bool keep_exit)
{
	int ret;

	mutex_lock(fr_module_mutex);
	ret = fr_victim_complete(victim);
	if (ret)
		goto err_unlock;
	if (!keep_exit) {
		/* Or who waits for a symbol of it gets in, and holds it. */
		compat_module_hide_exports(victim);
		victim->init = NULL;
		victim->exit = NULL;
	}
	atomic_set(&victim->refcnt, MODULE_REF_BASE);
	WRITE_ONCE(victim->state, MODULE_STATE_LIVE);
	mutex_unlock(fr_module_mutex);

	pr_info("reset: state live, reference count 0, %s\n",
		keep_exit ? "its own exit" : "neither init nor exit");
	return 0;

err_unlock:
	mutex_unlock(fr_module_mutex);
	return ret;
}

bool fr_victim_has(const struct module *victim, const void *address)
{
	return address && within_module((unsigned long)address, victim);
}

/* What stands before it is no text: it is not the end of another string. */
static bool fr_victim_begins(const char *text, size_t offset)
{
	return !offset || !isprint(text[offset - 1]);
}

bool fr_victim_has_string(const struct module *victim, const char *string)
{
	static const enum mod_mem_type types[] = { MOD_RODATA, MOD_DATA, MOD_INIT_RODATA };
	size_t length = strlen(string) + 1;
	size_t i, offset, size;
	const char *text;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		text = compat_module_mem(victim, types[i], &size);
		for (offset = 0; text && offset + length <= size; offset++)
			if (!memcmp(text + offset, string, length) &&
			    fr_victim_begins(text, offset))
				return true;
	}

	return false;
}

/*
 * Numbers of sysfs nodes only grow. Whatever the victim registered has a larger
 * one than its own directory, which was made just before init was called; an
 * object with a smaller one is somebody else's, and only borrowed.
 */
bool fr_victim_precedes(const struct module *victim, const struct kernfs_node *node)
{
	const u64 own = fr_devices_order(victim->mkobj.kobj.sd);

	return own && fr_devices_order(node) > own;
}
