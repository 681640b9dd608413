/* SPDX-License-Identifier: GPL-2.0-only */
/* undo.h - what the victim left registered, and how it is undone */
#ifndef FORCE_RMMOD_UNDO_H
#define FORCE_RMMOD_UNDO_H

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct device;
struct device_driver;
struct file;
struct file_system_type;
struct inode;
struct task_struct;

/*
 * undo.c: undo what the victim left behind, or, without apply, only look.
 * repairs_only stops after the stage FR_REPAIR. Returns how many there were.
 */
enum fr_stage {
	FR_REPAIR,	/* half-done things, which would stand in the way */
	FR_ACTIVE,	/* what calls into the victim by itself */
	FR_ENTRANCE,	/* what lets programs call into it */
	FR_OBJECT,	/* what is in sysfs, youngest first */
	FR_STORE,	/* what the others stood upon */
	FR_STAGES,
};

struct fr_finds;

struct fr_kind {
	const char *name;
	enum fr_stage stage;
	/* Calls fr_found() for each; an errno refuses the rescue. */
	int (*find)(struct module *victim, struct fr_finds *finds);
	/* Whether undo can be called: an errno if not. May be NULL; may sleep. */
	int (*check)(struct module *victim, void *object);
	int (*undo)(struct module *victim, void *object);
	/* Gives back what find took to keep the object; may be NULL. */
	void (*put)(void *object);
};

/* order: larger for what was registered later, 0 if unknown. Never sleeps. */
__printf(4, 5)
int fr_found(struct fr_finds *finds, void *object, u64 order, const char *format, ...);

int fr_undo(struct module *victim, bool apply, bool repairs_only);

/* Tells what it would do, as far as can be told before anything has been done. */
void fr_undo_steps(struct module *victim, bool repairs_only);

/* Whether what is being undone are repairs only: the victim keeps all else. */
extern bool fr_undo_repairs;

/* Whether something registered would be lost if devres gave back what it keeps for a device. */
bool fr_undo_needs_devres(struct module *victim, struct device *dev);

/* Held by whoever undoes anything: it is done for one victim at a time. */
extern struct mutex fr_undo_lock;

/* What has been undone, for one line of the log; whoever wants it empties it before. */
#define FR_UNDONE_SIZE 400
extern char fr_undone[FR_UNDONE_SIZE];

/*
 * probe.c: 0, or -EBUSY if a device's lock cannot be had; that of a
 * half-probed one can, when that has been undone. Or -EOPNOTSUPP for one that
 * cannot be unregistered, since somebody died in the middle of that.
 */
int fr_probe_check_lock(struct module *victim, struct device *dev);
bool fr_probe_is_half(const struct device *dev, const struct module *victim);

/*
 * Whether a device's registration died in probe; and that ended. True if it had to
 * be: then a reference to the device is left over.
 */
bool fr_probe_is_unfinished(const struct device *dev, const struct module *victim);
bool fr_probe_finish(struct device *dev);

/* proc.c, sysfs.c, debugfs.c: whether the victim is behind an open file. */
bool fr_proc_is_opened(struct module *victim, const struct inode *inode);
bool fr_sysfs_is_opened(const struct module *victim, const struct inode *inode);
bool fr_debugfs_is_opened(struct module *victim, const struct file *file);

/* filesystem.c: the n-th type of the victim's that is mounted, or NULL. */
struct file_system_type *fr_filesystem_mounted(struct module *victim, int n);

/*
 * driver.c: keeps a driver's remove from being called, until it is put back;
 * false if that cannot be done for a driver of its bus.
 */
struct fr_remove {
	void *saved[2];	/* platform drivers of some kernels have two */
};

bool fr_driver_silence(const struct module *victim, struct device_driver *drv,
		       struct fr_remove *remove);
void fr_driver_restore(const struct module *victim, struct device_driver *drv,
		       const struct fr_remove *remove);

/* thread.c: whether a task is a living kernel thread of the victim's own. */
bool fr_thread_is_of(struct task_struct *task, const struct module *victim);

/* <kind>.c: rows of the table in undo.c */
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
