/* SPDX-License-Identifier: GPL-2.0-only */
/* undo.h - what the victim left registered, and how it is undone */
#ifndef FORCE_RMMOD_UNDO_H
#define FORCE_RMMOD_UNDO_H

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/types.h>

#include "rescue.h"

struct device;
struct device_driver;
struct kobject;

enum fr_stage {
	FR_REPAIR,	/* half-done things, which would stand in the way */
	FR_ACTIVE,	/* what calls into the victim by itself */
	FR_ENTRANCE,	/* what lets programs call into it */
	FR_OBJECT,	/* what is in sysfs, youngest first */
	FR_STORE,	/* what the others stood upon */
	FR_STAGES,
};

struct fr_extents;
struct fr_finds;

struct fr_kind {
	const char *name;
	enum fr_stage stage;
	/* What is undone may be used by code of the victim's that goes on running. */
	bool frees;
	/* Calls fr_found() for each; an errno refuses the rescue. */
	int (*find)(struct fr_rescue *rescue, struct fr_finds *finds);
	/*
	 * Whether undo can be called: an errno if not, ENOTRECOVERABLE if nobody ever can.
	 * May be NULL; may sleep.
	 */
	int (*check)(struct fr_rescue *rescue, void *object);
	int (*undo)(struct fr_rescue *rescue, void *object);
	/* Adds what goes with the object, beside itself; may be NULL. */
	void (*cover)(struct fr_rescue *rescue, void *object, struct fr_extents *covered);
	/* Makes room for another of its name, if the object is kept. May be NULL. */
	void (*rename)(void *object);
	/* The device that undo lets go of its driver if the victim stays. May be NULL. */
	struct device *(*unbinds)(void *object);
	/* Gives back what find took to keep the object; may be NULL. */
	void (*put)(void *object);
};

/* finds.c; order: larger for what was registered later, 0 if unknown. Never sleeps. */
__printf(4, 5)
int fr_found(struct fr_finds *finds, void *object, u64 order, const char *format, ...);

/*
 * undo.c: undo what the victim left behind, or, without apply, only look; with
 * rescue->repairs_only no more than the stage FR_REPAIR. Returns how many there were.
 */
int fr_undo(struct fr_rescue *rescue, bool apply);

/* Tells what it would do, as far as can be told before anything has been done. */
void fr_undo_steps(struct fr_rescue *rescue);

/* Tells what a victim that stays keeps. */
void fr_undo_tell_kept(struct fr_rescue *rescue);

/* Adds what undoing all of that takes away. */
void fr_undo_cover(struct fr_rescue *rescue, struct fr_extents *covered);

/* Held by whoever undoes anything: it is done for one victim at a time. */
extern struct mutex fr_undo_lock;

/*
 * probe.c: 0, or -EBUSY if a device's lock cannot be had; that of a
 * half-probed one can, when that has been undone. Or -ENOTRECOVERABLE for one that
 * cannot be unregistered, since somebody died in the middle of that.
 */
int fr_probe_check_lock(const struct module *victim, struct device *dev);
bool fr_probe_is_half(const struct device *dev, const struct module *victim);

/*
 * Whether a device's registration died in probe; and that ended. True if it had to
 * be: then a reference to the device is left over.
 */
bool fr_probe_is_unfinished(const struct device *dev, const struct module *victim);
bool fr_probe_finish(struct device *dev);

/* sysfs.c: adds what leads from the folder of an object, and all below it, to it. */
void fr_sysfs_cover(struct kobject *kobj, struct fr_extents *covered);

/*
 * remove.c: keeps a driver's remove from being called, until it is put back;
 * false if that cannot be done for a driver of its bus.
 */
struct fr_remove {
	void *saved[2];	/* platform drivers of some kernels have two */
};

bool fr_remove_silence(const struct module *victim, struct device_driver *drv,
		       struct fr_remove *saved);
void fr_remove_restore(const struct module *victim, struct device_driver *drv,
		       const struct fr_remove *saved);

/* Whether a driver's remove can be kept from being called. */
bool fr_remove_is_known(const struct module *victim, struct device_driver *drv);

/* <kind>.c: rows of the table in undo.c */
extern const struct fr_kind fr_kind_reader;
extern const struct fr_kind fr_kind_half_probed;
extern const struct fr_kind fr_kind_driver;
extern const struct fr_kind fr_kind_platform;
extern const struct fr_kind fr_kind_input;
extern const struct fr_kind fr_kind_input_allocated;
extern const struct fr_kind fr_kind_misc;
extern const struct fr_kind fr_kind_cdev;
extern const struct fr_kind fr_kind_chrdev;
extern const struct fr_kind fr_kind_device;
extern const struct fr_kind fr_kind_class;
extern const struct fr_kind fr_kind_timer;
extern const struct fr_kind fr_kind_hrtimer;
extern const struct fr_kind fr_kind_work;
extern const struct fr_kind fr_kind_workqueue;
extern const struct fr_kind fr_kind_thread;
extern const struct fr_kind fr_kind_irq;
extern const struct fr_kind fr_kind_kprobe;
extern const struct fr_kind fr_kind_tracepoint;
extern const struct fr_kind fr_kind_notifier;
extern const struct fr_kind fr_kind_packet;
extern const struct fr_kind fr_kind_hook;
extern const struct fr_kind fr_kind_inet;
extern const struct fr_kind fr_kind_genl;
extern const struct fr_kind fr_kind_pernet;
extern const struct fr_kind fr_kind_sysrq;
extern const struct fr_kind fr_kind_key;
extern const struct fr_kind fr_kind_cpuhp;
extern const struct fr_kind fr_kind_format;
extern const struct fr_kind fr_kind_proc;
extern const struct fr_kind fr_kind_sysctl;
extern const struct fr_kind fr_kind_debugfs;
extern const struct fr_kind fr_kind_sysfs;
extern const struct fr_kind fr_kind_kobject;
extern const struct fr_kind fr_kind_filesystem;
extern const struct fr_kind fr_kind_family;
extern const struct fr_kind fr_kind_protocol;
extern const struct fr_kind fr_kind_netdev;
extern const struct fr_kind fr_kind_cache;
extern const struct fr_kind fr_kind_region;

#endif
