// SPDX-License-Identifier: GPL-2.0-only
/*
 * force_rmmod - makes a stuck module removable again, without a reboot
 *
 *	insmod force_rmmod.ko target=vms
 *	rmmod vms
 *	rmmod force_rmmod		(before or after, as you like)
 *
 * For a module whose init, exit or parameter setter died in an oops (state
 * "Loading" or "Unloading" in /proc/modules, rmmod and rmmod -f say "busy", a
 * second insmod of it waits for ever), one without an exit function, and one with
 * references that nobody holds. Loading force_rmmod
 *
 *  - prints name, state, reference count and users of the target,
 *  - refuses if the target still serves somebody, or if its init is only slow, and
 *    names who that is: modules, tasks with their stack, files, mappings, mounts,
 *  - takes calls of the target whose worker died off the list that rmmod waits
 *    for,
 *  - cuts the dead insmod's entry out of finit_module()'s table (6.5 and newer:
 *    the next insmod of the same file would hang or oops in it),
 *  - undoes what the target left registered, as far as a row of the table in
 *    undo/undo.c knows the kind,
 *  - searches memory (scan=0: does not) for what still leads into the target; if all
 *    of that is explained (evidence/world.c), resets the target, so that an ordinary
 *    rmmod takes it out,
 *  - otherwise, or if something could not be undone, or if there are references that
 *    nobody is found to hold, retires it: it is renamed in place and stays in memory
 *    for ever (victim/retire.c). The same for the new name proves it once more.
 *
 *	insmod force_rmmod.ko target=vms explain=1
 *
 * tells all that about any module, stuck or not, and what it has registered, and
 * changes nothing; facts.c says how programs get it. It does not stay (ECANCELED) if rmmod
 * of it would wait for a dead asynchronous call.
 *
 *	echo vms > /sys/module/force_rmmod/parameters/target
 *
 * does the same again, for this or another module, while force_rmmod is loaded, with
 * the same errnos; parameters/force and parameters/explain can be written as well.
 *
 *	insmod force_rmmod.ko guard=vms,other		or guard=*
 *
 * keeps these modules, or all, from getting stuck: guard/guard.c tells how. An oops in
 * their init or exit is told in the log as ever, then undone as above, and ends in an
 * error of insmod (EFAULT), or in an ordinary end of rmmod; also with panic_on_oops.
 *
 * The log shows all of that, one fact a line, and ends in "... can be removed
 * now" or in the reason for not doing it; facts.c has it for programs. No pointer
 * from the target into this module remains, but for the exit of one that is guarded.
 *
 * With force=1 a kernel newer than 7.3 is taken for one that is known, a driver of a
 * bus that is not known is unregistered even if a device is bound to it, whose remove
 * is called then; and a target that programs or the kernel itself use is retired instead
 * of refused. With risk_panic=1 too, what would be retired is freed: what still leads
 * into it takes the kernel down when it is used.
 *
 * errno of insmod: EINVAL no target, a name too long, or this module; ENOENT no
 * such module; EBUSY alive and in use, a living task runs in it, or a lock is
 * taken; EOPNOTSUPP this kernel's internals or this kind of leftover are not
 * known; EUCLEAN it was retired; EIO or another what was tried and did not work; ENOMEM
 * no memory; EINTR a signal came; 0 rescued, or nothing to do.
 *
 * Load it with init_module(2) if you can choose: finit_module(2), which insmod
 * prefers, walks the very table that may be damaged, and in 1 of 256 cases the
 * damaged part of it.
 *
 * Nothing here calls a function that the kernel does not export: with IBT those
 * have lost their landing pads. Unexported variables are looked up (kernel/lookup.c).
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "evidence/evidence.h"
#include "explain.h"
#include "facts.h"
#include "guard/guard.h"
#include "kernel/kernel.h"
#include "rescue.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* What a write to the parameter target means. */
static enum {
	FR_LOADING,	/* remember it, init will ask */
	FR_READY,	/* rescue it now */
	FR_FAILED,	/* nothing any more */
} fr_state;

static char fr_target[MODULE_NAME_LEN];

static struct fr_options fr_options = { .scan = true };
module_param_named(force, fr_options.force, bool, 0644);
MODULE_PARM_DESC(force, "take the risks that the log names, instead of refusing (default: off)");
module_param_named(risk_panic, fr_options.risk_panic, bool, 0644);
MODULE_PARM_DESC(risk_panic, "with force: free what may be alive; the kernel may panic (default: off)");
module_param_named(explain, fr_options.explain, bool, 0644);
MODULE_PARM_DESC(explain, "only tell what there is and what would be done (default: off)");
module_param_named(scan, fr_options.scan, bool, 0644);
MODULE_PARM_DESC(scan, "search memory for what still leads into the target (default: on)");

/* For one case: the next may be somebody else's, who has another file there. */
static int fr_report = -1;
module_param_named(report, fr_report, int, 0600);
MODULE_PARM_DESC(report, "descriptor of the loader that gets what is known, as JSON (default: none)");

/* The kernel's name of a module has '_' where that of the file may have '-'. */
static int fr_target_name(const char *value)
{
	char name[sizeof(fr_target) + 1];	/* echo adds a newline */

	if (strscpy(name, value, sizeof(name)) < 0 ||
	    strscpy(fr_target, strim(name), sizeof(fr_target)) < 0) {
		fr_tell(FR_REFUSED, "the target's name is longer than any module's");
		return -EINVAL;
	}

	strreplace(fr_target, '-', '_');
	if (!*fr_target) {
		fr_tell(FR_REFUSED, "the target has no name");
		return -EINVAL;
	}
	if (!strcmp(fr_target, THIS_MODULE->name)) {
		fr_tell(FR_REFUSED, "the target is this module itself");
		return -EINVAL;
	}

	return 0;
}

/*
 * Everything that can say no, none of which changes anything. dead: how many
 * asynchronous calls there are that somebody may wait for.
 */
static int fr_check(struct fr_rescue *rescue, int dead)
{
	int verdict, ret, held;

	verdict = fr_victim_judge(rescue);
	if (verdict < 0)
		return verdict;

	/* Whatever the count: operations without an owner are not counted. */
	held = fr_holders_check(rescue, dead);
	ret = held < 0 ? held : 0;
	if (!ret && verdict != FR_SOUND)
		ret = fr_scan(rescue);
	if (!ret && verdict == FR_LEAKED)
		ret = fr_owners_check(rescue);
	/* The loader's own reference goes when the dead calls are off its list. */
	if (!ret && verdict == FR_LEAKED && dead)
		verdict = FR_HALF;
	if (!ret && held)
		verdict = FR_LEAKED;
	if (!ret && verdict >= FR_LEAKED)
		ret = fr_retire_check(rescue->victim);
	if (ret)
		return ret;

	rescue->repairs_only = verdict < FR_LEAKED;
	ret = fr_undo(rescue, false);
	if (ret < 0)
		return ret;

	/* Sound, but for a device of its that is in the hands of the dead. */
	if (verdict == FR_SOUND && ret)
		return FR_HALF;

	return verdict;
}

/* Before anything is touched: what is left that cannot be proven dead is not to lose what it uses. */
static int fr_foresee(struct fr_rescue *rescue, int verdict)
{
	bool risk = rescue->options.force && rescue->options.risk_panic;

	rescue->stays = verdict != FR_SOUND && !risk && fr_explain_stays(rescue, verdict);
	if (!rescue->stays || !fr_retire_is_ghost(rescue->victim))
		return 0;

	fr_tell(FR_REFUSED, "%s cannot be proven dead, and stays", rescue->victim->name);
	return -EBUSY;
}

/* Whether it has to stay; undone: what came of undoing. */
static bool fr_must_stay(struct fr_rescue *rescue, int verdict, int undone)
{
	bool alive;

	if (verdict == FR_HALF)
		return false;

	alive = rescue->stays || undone < 0 || rescue->kept_count || verdict == FR_LEAKED ||
		fr_proof_check(rescue);
	if (!alive || !rescue->options.force || !rescue->options.risk_panic)
		return alive;

	pr_warn("force: %s is freed although it may be alive: the kernel may panic at any time\n",
		rescue->victim->name);
	return false;
}

static int fr_stay(struct fr_rescue *rescue, int state)
{
	struct module *victim = rescue->victim;
	int ret = fr_retire_is_ghost(victim) ? -EBUSY : 0;

	if (ret)
		fr_tell(FR_REFUSED, "%s cannot be proven dead, and stays", victim->name);
	else
		ret = fr_retire(victim);
	if (ret) {
		fr_victim_release(victim, state);
		return ret;
	}
	fr_guard_forget(victim);
	fr_undo_tell_kept(rescue);

	return -EUCLEAN;
}

static int fr_make_removable(struct fr_rescue *rescue)
{
	struct module *victim = rescue->victim;
	int dead, state, refs, verdict, ret;

	dead = fr_async_repair(rescue, false);
	if (dead < 0)
		return dead;

	state = READ_ONCE(victim->state);
	refs = module_refcount(victim);
	verdict = fr_check(rescue, dead);
	if (verdict >= 0 && dead) {
		/* Whoever waits for these calls holds the victim, and goes on now. */
		ret = fr_async_repair(rescue, true);
		if (ret < 0)
			return ret;
		state = READ_ONCE(victim->state);
		refs = module_refcount(victim);
		verdict = fr_check(rescue, 0);
	}
	if (verdict < 0)
		return verdict;
	if (verdict == FR_SOUND) {
		pr_info("nothing to do: rmmod can remove %s\n", victim->name);
		return 0;
	}

	ret = fr_foresee(rescue, verdict);
	if (!ret)
		ret = fr_victim_quarantine(victim, state, refs);
	if (ret)
		return ret;

	/* The loader first: its table may stay locked, and it helps whatever follows. */
	ret = fr_loader_repair();
	if (ret) {
		fr_victim_release(victim, state);
		return ret;
	}
	ret = fr_undo(rescue, true);
	if (!ret)
		pr_info("nothing found of a known kind\n");
	if (fr_must_stay(rescue, verdict, ret))
		return fr_stay(rescue, state);
	if (ret >= 0 || verdict != FR_HALF)
		ret = fr_victim_reset(victim, verdict == FR_HALF);
	if (ret < 0) {
		fr_victim_release(victim, state);
		return ret;
	}

	pr_info("%s can be removed now: rmmod %s\n", victim->name, victim->name);
	return 0;
}

static int fr_attend_found(struct fr_rescue *rescue)
{
	int ret;

	ret = fr_loader_resolve();
	if (!ret)
		ret = fr_victim_describe(rescue);
	if (ret)
		return ret;

	if (rescue->options.explain)
		return fr_explain(rescue) && fr_state == FR_LOADING ? -ECANCELED : 0;

	return fr_make_removable(rescue);
}

static int fr_attend(void)
{
	struct fr_rescue rescue = { .options = fr_options };
	int ret = 0;

	mutex_lock(&fr_undo_lock);
	fr_facts_begin();
	if (fr_state == FR_LOADING)
		ret = fr_layout_check(rescue.options.force);
	if (!ret)
		ret = fr_victim_find(&rescue, fr_target);
	if (!ret)
		ret = fr_attend_found(&rescue);
	fr_scan_forget(&rescue);
	/* A reference kept would make rmmod of the victim wait for ever. */
	fr_victim_put(&rescue);
	fr_lookup_forget();
	fr_facts_end(fr_report);
	fr_report = -1;
	mutex_unlock(&fr_undo_lock);

	return ret;
}

static int fr_target_set(const char *value, const struct kernel_param *param)
{
	int ret;

	ret = fr_target_name(value);
	if (ret || fr_state == FR_LOADING)
		return ret;

	if (fr_state == FR_FAILED || !try_module_get(THIS_MODULE))
		return -ENODEV;

	ret = fr_attend();
	module_put(THIS_MODULE);
	return ret;
}

static int fr_target_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s\n", fr_target);
}

static const struct kernel_param_ops fr_target_ops = {
	.set = fr_target_set,
	.get = fr_target_get,
};

module_param_cb(target, &fr_target_ops, NULL, 0644);
__MODULE_PARM_TYPE(target, "charp");
MODULE_PARM_DESC(target, "name of the module to make removable");

/* As a guard, as a rescue, or both. */
static int fr_start(void)
{
	int ret;

	if (!fr_guard_wanted() && !*fr_target) {
		fr_tell(FR_REFUSED, "no target; load me with target=<module> or guard=<modules>");
		return -EINVAL;
	}

	ret = *fr_target ? fr_attend() : fr_layout_check(fr_options.force);
	if (!ret && fr_guard_wanted())
		ret = fr_guard_init();

	return ret;
}

static int __init fr_init(void)
{
	int ret;

	/* Or our own insmod would wait for an asynchronous call whose worker died. */
	THIS_MODULE->async_probe_requested = true;
	kernel_param_lock(THIS_MODULE);
	ret = fr_facts_init();
	if (!ret)
		ret = fr_start();
	/* A guarded init may be in it already. */
	mutex_lock(&fr_undo_lock);
	fr_lookup_forget();
	mutex_unlock(&fr_undo_lock);
	fr_state = ret ? FR_FAILED : FR_READY;
	kernel_param_unlock(THIS_MODULE);
	if (ret)
		fr_facts_exit();

	return ret;
}

static void __exit fr_exit(void)
{
	if (fr_guard_wanted())
		fr_guard_exit();
	fr_facts_exit();
}

module_init(fr_init);
module_exit(fr_exit);

MODULE_DESCRIPTION("Makes a stuck module removable again");
MODULE_LICENSE("GPL");
