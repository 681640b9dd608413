// SPDX-License-Identifier: GPL-2.0-only
/*
 * guard.c - force_rmmod stays, and init and exit of other modules run guarded
 *
 * A module that comes gets an init of ours, which calls its own; one that is
 * live an exit of ours. If its own dies, what it left is undone by the task that
 * called it, and then the call returns: an error from init, so that the loader
 * frees the module as it does after every error, and nothing from exit, so that
 * its removal goes on.
 *
 * Nothing is freed that is still in use: as long as something cannot be undone,
 * or a living task is inside the module, the call does not return, and the log
 * tells what it waits for.
 *
 * While a module is between COMING and LIVE, and while a guarded exit runs, the
 * guard is in use. Both references are given back by the module notifier, when
 * the task is out of our code. A guard that leaves gives every live module its
 * own exit back; one whose removal is under way is waited for.
 */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "evidence/evidence.h"
#include "guard/guard.h"
#include "kernel/kernel.h"
#include "rescue.h"
#include "undo/undo.h"
#include "victim/victim.h"

#define FR_GUARD_PAUSE_MS 1000
#define FR_GUARD_PAUSE_MAX_MS 60000

static char *fr_guard_names;
module_param_named(guard, fr_guard_names, charp, 0444);
MODULE_PARM_DESC(guard, "modules whose init and exit are guarded: names with commas, or * for all");

/*
 * Each guarded module has a place, and each place an exit of ours, since that
 * gets no argument: 4 * 4 * 4 * 4 of them.
 */
#define FR_FOUR(m, n) m(n##0) m(n##1) m(n##2) m(n##3)
#define FR_SIXTEEN(m, n) FR_FOUR_OF(m, n##0) FR_FOUR_OF(m, n##1) \
			 FR_FOUR_OF(m, n##2) FR_FOUR_OF(m, n##3)
#define FR_FOUR_OF(m, n) FR_FOUR(m, n)
#define FR_SIXTEEN_OF(m, n) FR_SIXTEEN(m, n)
#define FR_SIXTYFOUR_OF(m, n) FR_SIXTEEN_OF(m, n##0) FR_SIXTEEN_OF(m, n##1) \
			      FR_SIXTEEN_OF(m, n##2) FR_SIXTEEN_OF(m, n##3)
#define FR_PLACES_OF(m) FR_SIXTYFOUR_OF(m, 0) FR_SIXTYFOUR_OF(m, 1) \
			FR_SIXTYFOUR_OF(m, 2) FR_SIXTYFOUR_OF(m, 3)

#define FR_PLACE(n) FR_PLACE_##n,
enum { FR_PLACES_OF(FR_PLACE) FR_PLACES };

static struct fr_guarded fr_guarded[FR_PLACES];
static DEFINE_MUTEX(fr_guarded_lock);
static DECLARE_WAIT_QUEUE_HEAD(fr_guarded_gone);
static bool fr_guard_on;
static const struct fr_options *fr_guard_options;

static void fr_guard_call_exit(struct fr_guarded *guarded);

#define FR_EXIT(n) static void fr_exit_##n(void) { fr_guard_call_exit(&fr_guarded[FR_PLACE_##n]); }
FR_PLACES_OF(FR_EXIT)

#define FR_EXIT_OF(n) fr_exit_##n,
static void (*const fr_exits[FR_PLACES])(void) = { FR_PLACES_OF(FR_EXIT_OF) };

/* ---- which modules ---- */

static bool fr_guard_is_name(const char *word, size_t length, const char *name)
{
	size_t i;

	for (i = 0; i < length; i++)
		if (name[i] != (word[i] == '-' ? '_' : word[i]))
			return false;

	return !name[length];
}

static bool fr_guard_wants(const struct module *mod)
{
	const char *word = fr_guard_names;
	size_t length;

	if (mod == THIS_MODULE)
		return false;

	for (;;) {
		length = strcspn(word, ",");
		if ((length == 1 && *word == '*') || fr_guard_is_name(word, length, mod->name))
			return true;
		if (!word[length])
			return false;
		word += length + 1;
	}
}

const char *fr_guard_wanted(void)
{
	return fr_guard_names && *fr_guard_names ? fr_guard_names : NULL;
}

unsigned int fr_guard_count(void)
{
	unsigned int i, count = 0;

	for (i = 0; i < FR_PLACES; i++)
		count += READ_ONCE(fr_guarded[i].mod) != NULL;

	return count;
}

static struct fr_guarded *fr_guarded_find(const struct module *mod)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (fr_guarded[i].mod == mod)
			return &fr_guarded[i];

	return NULL;
}

static struct fr_guarded *fr_guarded_add(struct module *mod)
{
	struct fr_guarded *guarded = fr_guarded_find(NULL);

	if (!guarded) {
		pr_warn("guard: %d modules are guarded, and %s is not\n", FR_PLACES, mod->name);
		return NULL;
	}

	*guarded = (struct fr_guarded){ .mod = mod };
	return guarded;
}

/* ---- what runs in the place of init and exit ---- */

/* A call that died, and the case of the module that it was of. */
struct fr_death {
	struct fr_call *call;
	struct fr_rescue rescue;
};

/* Whether nothing is left that would outlive the module's memory. */
static int fr_guard_clear(void *data)
{
	struct fr_death *death = data;
	struct fr_rescue *rescue = &death->rescue;
	struct fr_call *call = death->call;
	int ret;

	fr_locks_release(call->mod, call->repaired, sizeof(call->repaired));
	ret = fr_scan(rescue);
	if (!ret)
		ret = fr_undo(rescue, true);
	if (ret >= 0)
		ret = fr_holders_check(rescue, false);
	if (!ret)
		ret = fr_proof_check(rescue);

	return ret;
}

/* What dies in here is not the end either. */
static int fr_guard_undo(struct fr_death *death)
{
	struct fr_call *call = death->call;
	struct fr_call undo = { .mod = call->mod, .what = "undoing" };
	int ret;

	/* One who is to be killed has to be let go all the more. */
	fr_context_hide_signals();
	ret = fr_call_run(&undo, fr_guard_clear, death);
	fr_context_show_signals();
	fr_scan_forget(&death->rescue);
	fr_lookup_forget();
	if (undo.died) {
		pr_err("guard: undoing what %s left died at %s\n", call->mod->name, undo.place);
		fr_locks_release(call->mod, call->repaired, sizeof(call->repaired));
	}

	return ret;
}

static void fr_guard_tell(const struct fr_death *death)
{
	const struct fr_call *call = death->call;
	const char *undone = death->rescue.undone;

	pr_warn("guard: %s of %s died at %s (%s); undone: %s; repaired: %s\n", call->what,
		call->mod->name, call->place, call->reason, *undone ? undone : "nothing",
		*call->repaired ? call->repaired : "nothing");
	fr_report_event(call, undone);
}

/* One at a time, as the rescue. */
static int fr_guard_try(struct fr_call *call)
{
	struct fr_death death = {
		.call = call,
		.rescue = { .victim = call->mod, .options = *fr_guard_options },
	};
	bool force = death.rescue.options.force;
	int ret;

	/* That is for rescues only. */
	death.rescue.options.explain = false;
	mutex_lock(&fr_undo_lock);
	death.rescue.journal = fr_journal_copy(call->journal);
	ret = fr_guard_undo(&death);
	/* Who runs in it would take the machine down. */
	if (ret && force && fr_references_inside(call->mod)) {
		pr_err("force: not while a living task runs in %s\n", call->mod->name);
	} else if (ret && force) {
		pr_warn("force: %s is let go all the same\n", call->mod->name);
		ret = 0;
	}
	if (!ret)
		fr_guard_tell(&death);
	mutex_unlock(&fr_undo_lock);

	return ret;
}

static void fr_guard_mourn(struct fr_call *call)
{
	unsigned int pause = FR_GUARD_PAUSE_MS;

	fr_report_wait(1);
	while (fr_guard_try(call)) {
		pr_err("guard: %s cannot be let go, see above; the next look in %u s\n",
		       call->mod->name, pause / 1000);
		msleep(pause);
		pause = min(2 * pause, (unsigned int)FR_GUARD_PAUSE_MAX_MS);
	}
	fr_report_wait(-1);
}

int fr_guard_run(struct module *mod, const char *what, int (*fn)(void *data), void *data)
{
	struct fr_call call = { .mod = mod, .what = what, .journal = fr_journal_begin() };
	int ret;

	fr_report_call();
	ret = fr_call_run(&call, fn, data);
	if (call.died)
		fr_guard_mourn(&call);
	fr_journal_end(call.journal);

	return ret;
}

struct fr_guarded *fr_guarded_loading(void)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (READ_ONCE(fr_guarded[i].loader) == current)
			return &fr_guarded[i];

	return NULL;
}

static int fr_guard_real_init(void *data)
{
	struct fr_guarded *guarded = data;

	return guarded->init();
}

static int fr_guard_call_init(void)
{
	struct fr_guarded *guarded = fr_guarded_loading();

	fr_params_restore(guarded);
	WRITE_ONCE(guarded->loader, NULL);
	guarded->mod->init = guarded->init;
	return fr_guard_run(guarded->mod, "init", fr_guard_real_init, guarded);
}

static int fr_guard_real_exit(void *data)
{
	struct fr_guarded *guarded = data;

	guarded->exit();
	return 0;
}

static void fr_guard_call_exit(struct fr_guarded *guarded)
{
	/* If not, we are leaving too, and wait for this one. */
	guarded->holds = try_module_get(THIS_MODULE);
	fr_guard_run(guarded->mod, "exit", fr_guard_real_exit, guarded);
}

/* ---- modules come and go ---- */

/* A loader that died before init was called may have had the same address. */
static void fr_guarded_forget(const struct task_struct *loader)
{
	int i;

	for (i = 0; i < FR_PLACES; i++)
		if (fr_guarded[i].loader == loader)
			fr_guarded[i].loader = NULL;
}

static void fr_guard_coming(struct module *mod)
{
	struct fr_guarded *guarded;

	if (!mod->init || !fr_guard_wants(mod))
		return;

	guarded = fr_guarded_add(mod);
	if (!guarded)
		return;

	/* If not, we are leaving. */
	guarded->holds = try_module_get(THIS_MODULE);
	if (!guarded->holds) {
		guarded->mod = NULL;
		return;
	}

	fr_guarded_forget(current);
	guarded->loader = current;
	guarded->init = mod->init;
	mod->init = fr_guard_call_init;
	fr_params_guard(guarded);
}

static void fr_guard_let_us_go(struct fr_guarded *guarded)
{
	if (guarded->holds)
		module_put(THIS_MODULE);
	guarded->holds = false;
}

static void fr_guard_live(struct module *mod)
{
	struct fr_guarded *guarded = fr_guarded_find(mod);

	if (!guarded && fr_guard_on && fr_guard_wants(mod))
		guarded = fr_guarded_add(mod);
	if (!guarded)
		return;

	/* A guard that has just come may have found it live before it is told so. */
	if (mod->exit && mod->exit != fr_exits[guarded - fr_guarded]) {
		guarded->exit = mod->exit;
		mod->exit = fr_exits[guarded - fr_guarded];
	}
	fr_guard_let_us_go(guarded);
}

static void fr_guard_going(struct module *mod)
{
	struct fr_guarded *guarded = fr_guarded_find(mod);

	if (!guarded)
		return;

	fr_params_restore(guarded);
	fr_params_free(guarded);
	fr_guard_let_us_go(guarded);
	*guarded = (struct fr_guarded){ };
	wake_up_all(&fr_guarded_gone);
}

static int fr_guard_event(struct notifier_block *block, unsigned long event, void *data)
{
	mutex_lock(&fr_guarded_lock);
	if (event == MODULE_STATE_COMING && fr_guard_on)
		fr_guard_coming(data);
	else if (event == MODULE_STATE_LIVE)
		fr_guard_live(data);
	else if (event == MODULE_STATE_GOING)
		fr_guard_going(data);
	mutex_unlock(&fr_guarded_lock);

	return NOTIFY_DONE;
}

/* Last when a module comes, so that an error of others comes before. */
static struct notifier_block fr_guard_block = {
	.notifier_call = fr_guard_event,
	.priority = INT_MIN,
};

/* ---- the guard comes and goes ---- */

static int fr_guard_present(struct module *mod, void *data)
{
	if (mod->state == MODULE_STATE_LIVE && !fr_guarded_find(mod) && fr_guard_wants(mod))
		fr_guard_live(mod);

	return 0;
}

static int fr_guard_release(struct module *mod, void *data)
{
	struct fr_guarded *guarded = fr_guarded_find(mod);

	if (!guarded || mod->state != MODULE_STATE_LIVE)
		return 0;

	/* A rescue may have taken our exit away. */
	if (mod->exit == fr_exits[guarded - fr_guarded])
		mod->exit = guarded->exit;
	fr_params_free(guarded);
	*guarded = (struct fr_guarded){ };
	return 0;
}

int fr_guard_init(const struct fr_options *options)
{
	int ret, probes;

	fr_guard_options = options;
	ret = fr_victim_resolve();
	if (ret)
		return ret;

	fr_locks_init();
	ret = fr_call_init();
	if (ret)
		return ret;

	ret = fr_report_init();
	if (ret)
		goto err_call;

	ret = register_module_notifier(&fr_guard_block);
	if (ret)
		goto err_report;

	probes = fr_journal_init();
	mutex_lock(&fr_guarded_lock);
	fr_guard_on = true;
	fr_victim_each(fr_guard_present, NULL);
	mutex_unlock(&fr_guarded_lock);

	pr_info("guard: init and exit of %s are guarded, %d functions probed\n",
		strcmp(fr_guard_names, "*") ? fr_guard_names : "all modules", probes);
	return 0;

err_report:
	fr_report_exit();
err_call:
	fr_call_exit();
	return ret;
}

void fr_guard_exit(void)
{
	mutex_lock(&fr_guarded_lock);
	fr_guard_on = false;
	fr_victim_each(fr_guard_release, NULL);
	mutex_unlock(&fr_guarded_lock);

	wait_event(fr_guarded_gone, !fr_guard_count());
	unregister_module_notifier(&fr_guard_block);
	fr_journal_exit();
	fr_report_exit();
	fr_call_exit();
}
