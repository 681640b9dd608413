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
 * While a module is between COMING and LIVE, and while a guarded exit runs, the
 * guard is in use. Both references are given back by the module notifier, when
 * the task is out of our code. A guard that leaves gives every live module its
 * own exit back; one whose removal is under way is waited for.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "guard/guard.h"
#include "victim/victim.h"

/* Each place has an exit of ours, since that gets no argument: 4 * 4 * 4 * 4 of them. */
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
enum { FR_PLACES_OF(FR_PLACE) FR_EXITS };
static_assert(FR_EXITS == FR_PLACES);

static DEFINE_MUTEX(fr_guarded_lock);
static DECLARE_WAIT_QUEUE_HEAD(fr_guarded_gone);
static bool fr_guard_on;

static void fr_guard_call_exit(struct fr_guarded *guarded);

#define FR_EXIT(n) static void fr_exit_##n(void) { fr_guard_call_exit(&fr_guarded[FR_PLACE_##n]); }
FR_PLACES_OF(FR_EXIT)

#define FR_EXIT_OF(n) fr_exit_##n,
static void (*const fr_exits[FR_EXITS])(void) = { FR_PLACES_OF(FR_EXIT_OF) };

/* ---- what runs in the place of init and exit ---- */

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

void fr_guard_forget(struct module *mod)
{
	mutex_lock(&fr_guarded_lock);
	fr_guard_going(mod);
	mutex_unlock(&fr_guarded_lock);
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

int fr_guard_init(void)
{
	int ret, probes;

	ret = fr_victim_resolve();
	if (ret)
		return ret;

	fr_run_init(fr_guard_forget);
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
		strcmp(fr_guard_wanted(), "*") ? fr_guard_wanted() : "all modules", probes);
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
