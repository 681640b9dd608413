// SPDX-License-Identifier: GPL-2.0-only
/*
 * states - a module that stays in any state for as long as one likes
 *
 *	insmod states.ko wait=init &	COMING, until 1 is written to go
 *	insmod states.ko wait=exit; rmmod states &	GOING, the same way
 *	insmod states.ko no_exit=1	as if it had no exit function
 *	insmod states.ko pins=2		holds itself twice, with no module that uses it
 *	insmod states.ko error=5	init fails with EIO
 *	insmod states.ko borrow=NAME	takes a symbol by symbol_get()
 *
 * In /sys/module/states/parameters: go (1 lets the waiting go on); pins, no_exit
 * and borrow (can be changed; an empty name gives back); hold_lock (a write takes the lock of the module list
 * and sleeps with it until a signal comes).
 *
 * The log shows "loaded", "unloaded", "waits in ..." and "lock held".
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

#define STATES_POLL_MS 20

static char *states_wait = "";
module_param_named(wait, states_wait, charp, 0444);
MODULE_PARM_DESC(wait, "init or exit: where to wait for go");

static bool states_go;
module_param_named(go, states_go, bool, 0644);
MODULE_PARM_DESC(go, "ends the waiting");

static int states_error;
module_param_named(error, states_error, int, 0444);
MODULE_PARM_DESC(error, "errno with which init fails");

static bool states_no_exit;
static void (*states_own_exit)(void);

static int states_set_no_exit(const char *text, const struct kernel_param *kp)
{
	int err = param_set_bool(text, kp);

	if (err)
		return err;
	if (!states_own_exit)
		states_own_exit = THIS_MODULE->exit;
	THIS_MODULE->exit = states_no_exit ? NULL : states_own_exit;
	return 0;
}

static const struct kernel_param_ops states_no_exit_ops = {
	.set = states_set_no_exit,
	.get = param_get_bool,
};
module_param_cb(no_exit, &states_no_exit_ops, &states_no_exit, 0644);
MODULE_PARM_DESC(no_exit, "forget the exit function, as if there were no module_exit()");

static unsigned int states_pins;

static int states_set_pins(const char *text, const struct kernel_param *kp)
{
	unsigned int before = states_pins;
	int err = param_set_uint(text, kp);

	if (err)
		return err;
	for (; before < states_pins; before++)
		__module_get(THIS_MODULE);
	for (; before > states_pins; before--)
		module_put(THIS_MODULE);
	return 0;
}

static const struct kernel_param_ops states_pins_ops = {
	.set = states_set_pins,
	.get = param_get_uint,
};
module_param_cb(pins, &states_pins_ops, &states_pins, 0644);
MODULE_PARM_DESC(pins, "how many references it holds to itself");

static char states_borrowed[64];

static void states_give_back(void)
{
	if (*states_borrowed)
		__symbol_put(states_borrowed);
	*states_borrowed = '\0';
}

/* symbol_get() with a name that is known only at run time. */
static int states_borrow(const char *text, const struct kernel_param *kp)
{
	char name[sizeof(states_borrowed)];

	if (strscpy(name, text, sizeof(name)) < 0)
		return -ENAMETOOLONG;
	strim(name);
	states_give_back();
	if (!*name)
		return 0;
	if (!__symbol_get(name))
		return -ENOENT;
	strscpy(states_borrowed, name, sizeof(states_borrowed));
	return 0;
}

static const struct kernel_param_ops states_borrow_ops = {
	.set = states_borrow,
};
module_param_cb(borrow, &states_borrow_ops, NULL, 0200);
MODULE_PARM_DESC(borrow, "symbol to take by symbol_get(); empty: give it back");

/*
 * The lock of the module list is private to the loader. A probe that cannot be
 * placed, since this is data and not code, still has looked the address up.
 */
static struct mutex *states_module_mutex(void)
{
	struct kprobe probe = { .symbol_name = "module_mutex" };

	if (register_kprobe(&probe) == 0)
		unregister_kprobe(&probe);
	return (struct mutex *)probe.addr;
}

static int states_hold_lock(const char *text, const struct kernel_param *kp)
{
	struct mutex *lock = states_module_mutex();

	if (!lock)
		return -ENOENT;
	mutex_lock(lock);
	pr_info("lock held\n");
	while (!signal_pending(current))
		msleep_interruptible(STATES_POLL_MS);
	mutex_unlock(lock);
	return -EINTR;
}

static const struct kernel_param_ops states_hold_lock_ops = {
	.set = states_hold_lock,
};
module_param_cb(hold_lock, &states_hold_lock_ops, NULL, 0200);
MODULE_PARM_DESC(hold_lock, "a write holds the lock of the module list until a signal");

static void states_wait_in(const char *where)
{
	if (strcmp(states_wait, where))
		return;
	pr_info("waits in %s\n", where);
	while (!READ_ONCE(states_go))
		msleep(STATES_POLL_MS);
	WRITE_ONCE(states_go, false);
}

static int __init states_init(void)
{
	states_wait_in("init");
	if (states_error) {
		states_give_back();
		return -states_error;
	}
	pr_info("loaded\n");
	return 0;
}

static void __exit states_exit(void)
{
	states_wait_in("exit");
	states_give_back();
	pr_info("unloaded\n");
}

module_init(states_init);
module_exit(states_exit);

MODULE_DESCRIPTION("Stays in any state of a module for as long as one likes");
MODULE_LICENSE("GPL");
