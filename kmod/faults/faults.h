/* SPDX-License-Identifier: GPL-2.0-only */
/* faults.h - what a row of the table of scenarios consists of */
#ifndef FAULTS_H
#define FAULTS_H

#include <linux/device.h>
#include <linux/module.h>
#include <linux/netdevice.h>

/* Where a scenario gets stuck, if fault is on. */
enum fa_place {
	FA_IN_INIT,	/* after start() */
	FA_IN_EXIT,	/* before stop() */
	FA_IN_SETTER,	/* of the parameter scenario, before there is a sysfs object */
	FA_IN_START,	/* start() itself asks fa_fault */
};

struct fa_row {
	const char *name;
	enum fa_place place;
	int (*start)(void);	/* registers something; NULL: nothing */
	void (*stop)(void);	/* undoes start() */
	void (*die)(void);	/* does not return, or spoils the module; NULL: fa_die_null */
};

extern bool fa_fault;

/* Whether a slow init may end (parameter release). */
bool fa_released(void);

/* die.c: ways of getting stuck */
void fa_die_null(void);
void fa_die_bug(void);
void fa_die_protection(void);
void fa_die_jump(void);
void fa_die_atomic(void);
void fa_die_irqs_off(void);
void fa_die_interrupt(void);
void fa_die_overflow(void);
void fa_die_locked(void);
void fa_die_rcu(void);
void fa_die_leak(void);
void fa_die_no_exit(void);
void fa_die_sleep(void);
void fa_die_busy(void);

/* A line that a PC has and that nothing in the virtual machine uses. */
#define FA_IRQ 5

/* store.c */
extern const struct net_device_ops fa_netdev_ops;

/* The things a scenario registers: one pair a row. */
#define FA_PAIR(thing) \
	int fa_##thing##_start(void); \
	void fa_##thing##_stop(void)

/* probe.c */
FA_PAIR(probe);
int fa_probe_devres_start(void);
int fa_probe_remove_start(void);
int fa_probe_attach_start(void);
FA_PAIR(probe_async);
int fa_probe_async_devres_start(void);
FA_PAIR(probe_pci);

/* device.c */
FA_PAIR(platform_device);
FA_PAIR(platform_static);
FA_PAIR(platform_driver);
FA_PAIR(input);
FA_PAIR(input_allocated);
FA_PAIR(misc);
FA_PAIR(chrdev);
FA_PAIR(class);

/* deferred.c */
FA_PAIR(timer);
FA_PAIR(timer_allocated);
FA_PAIR(hrtimer);
FA_PAIR(work);
FA_PAIR(work_allocated);
FA_PAIR(thread);
int fa_stubborn_start(void);
FA_PAIR(irq);

/* hook.c */
FA_PAIR(kprobe);
FA_PAIR(notifier_reboot);
FA_PAIR(notifier_netdevice);
FA_PAIR(notifier_panic);
FA_PAIR(notifier_keyboard);
FA_PAIR(tracepoint);
FA_PAIR(sysrq);
FA_PAIR(packet);
FA_PAIR(packet_allocated);

/* file.c */
FA_PAIR(proc);
FA_PAIR(debugfs);
FA_PAIR(sysfs);
FA_PAIR(kobject);
FA_PAIR(sysctl);
FA_PAIR(filesystem);

/* socket.c */
FA_PAIR(socket);

/* store.c */
FA_PAIR(netdev);
FA_PAIR(cache);
FA_PAIR(region);

/* live.c */
FA_PAIR(packet_array);
FA_PAIR(timer_array);
FA_PAIR(netfilter);
FA_PAIR(rcu_self);
FA_PAIR(user);
FA_PAIR(packet_chain);
FA_PAIR(congestion);
FA_PAIR(congestion_allocated);
FA_PAIR(chain);
FA_PAIR(lookalike);
FA_PAIR(unowned);
FA_PAIR(reader);

/* hidden.c */
FA_PAIR(hidden);

#endif
