/* SPDX-License-Identifier: GPL-2.0-only */
/* force_rmmod.h - what the parts of force_rmmod offer each other */
#ifndef FORCE_RMMOD_H
#define FORCE_RMMOD_H

#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/types.h>

struct device;
struct device_driver;
struct kobject;
struct mutex;

/* main.c: whether to take a risk, named in the log, when proof is missing. */
extern bool fr_force;

/* main.c: whether what is found is told, and nothing done. */
extern bool fr_explain;

/*
 * explain.c: tells all about the victim, and what a rescue would come to. Returns
 * whether asynchronous calls may be dead, for which every rmmod waits.
 */
bool fr_tell(struct module *victim);

/*
 * lookup.c: the address of a variable that the kernel does not export, of at
 * least size bytes, or NULL. For data only. The name is listed in .modinfo, for
 * whoever hands addresses over.
 */
#define fr_lookup(symbol, size) ({ \
	FR_SYMBOL(symbol); \
	fr_lookup_name(symbol, size); \
})
#define FR_SYMBOL(name) MODULE_INFO(symbol, name)

void *fr_lookup_name(const char *symbol, size_t size);

/* Gives back what was allocated to make look-ups fast; any can still follow. */
void fr_lookup_forget(void);

/*
 * layout.c: 0, or -EOPNOTSUPP for a kernel whose private structures nobody has
 * compared with compat.h, or, told by who finds out, one that is another.
 */
int fr_layout_check(void);
int fr_layout_unknown(const char *structure);

/* What must be so of what may be something else: any address can be asked. */
bool fr_layout_is_word(const void *address, const void *value);
bool fr_layout_is_listed(const struct list_head *node);
bool fr_layout_is_string(const char *address, const char *expected);
bool fr_layout_is_named(const char *const *pointer, const char *expected);

/*
 * victim.c: the module. Found by name, with a reference that keeps it from
 * being freed until fr_victim_put(), if it has got as far as to have one;
 * fr_victim_find() returns an ERR_PTR.
 */
int fr_victim_resolve(void);
struct module *fr_victim_find(const char *name);
void fr_victim_put(struct module *victim);
int fr_victim_describe(struct module *victim);

/* Calls fn for every module, while none comes or goes, until it returns non-zero. */
int fr_victim_each(int (*fn)(struct module *mod, void *data), void *data);

/* What fr_victim_judge() found, if not a negative errno. */
enum fr_verdict {
	FR_SOUND,	/* init returned, nobody holds it, and it has its own exit */
	FR_LEAKED,	/* the same, but for references: whose? */
	FR_STUCK,	/* init or exit died, or there is no exit */
};

int fr_victim_judge(struct module *victim);

/* Nobody gets hold of the victim until it is released, into a state, or reset. */
int fr_victim_quarantine(struct module *victim, int state, int refs);
void fr_victim_release(struct module *victim, int state);
int fr_victim_reset(struct module *victim, bool keep_exit);

/* The first word of the victim's writable data that holds value, or NULL. */
unsigned long *fr_victim_holder(struct module *victim, unsigned long value);

/* Clears all words that hold value, which leads to what is no more: 0, or an errno. */
int fr_victim_forget(struct module *victim, unsigned long value);

/* Calls fn for each word of that data until fn returns non-zero, and returns that. */
int fr_victim_each_word(struct module *victim,
			int (*fn)(struct module *victim, unsigned long *word, void *data),
			void *data);

/* Whether an address that is perhaps NULL lies in the victim's memory. */
bool fr_victim_has(const struct module *victim, const void *address);

/* Whether a string stands in the victim's memory, from its beginning to its end. */
bool fr_victim_has_string(const struct module *victim, const char *string);

/* Whether a sysfs object is younger than the victim's own. */
bool fr_victim_is_older(const struct module *victim, const struct kobject *kobj);

/* loader.c: cut the entries of dead tasks out of finit_module()'s table. */
int fr_loader_resolve(void);
int fr_loader_repair(void);

/* async.c: asynchronous calls of the victim whose worker died; how many. */
struct task_struct;

int fr_async_repair(struct module *victim, bool apply);

/* Whether a task waits for asynchronous calls to be done; after fr_async_repair(). */
bool fr_async_awaits(const struct task_struct *task);

/*
 * tasks.c: what is on the stacks of the living. A task counts if fn says so of
 * any word of its stack that is in use; each() is called for it.
 */
struct fr_stack_query {
	bool (*match)(unsigned long word, bool waiting, const void *data);
	const void *data;
	/* May be NULL: tasks that do not count at all. */
	bool (*skip)(struct task_struct *task, const void *data);
};

int fr_tasks_count(const struct fr_stack_query *query,
		   void (*each)(struct task_struct *task, const void *data));

/* Whether, for a while, always some task counts: one that runs shows traces of earlier calls. */
bool fr_tasks_stay(const struct fr_stack_query *query);

void fr_tasks_print_stack(struct task_struct *task);

/* Whether, for a while, always somebody living has an address in a range on the stack. */
bool fr_tasks_hold(const void *start, size_t size);

enum fr_lock {
	FR_LOCK_FREE,
	FR_LOCK_HELD,
	FR_LOCK_DEAD,	/* its owner died with it */
};

/* Whether the owner of a lock can be told at all. */
bool fr_tasks_knows_locks(void);

/* Judged by the owner and by who has an address of the object on the stack. */
enum fr_lock fr_tasks_lock(const struct mutex *lock, const void *object, size_t size);

/* Whether a lock can be had within a second; it is not held on return. */
bool fr_tasks_can_lock(struct mutex *lock, const char *name);

/*
 * Tries for a second what must not wait for the dead: an expression that takes a
 * lock and tells whether it has got it.
 */
#define fr_try(taken) ({ \
	bool taken_ = false; \
	int round_; \
	for (round_ = 0; round_ < 50 && !taken_; round_++) { \
		taken_ = (taken); \
		if (!taken_) \
			msleep(20); \
	} \
	taken_; \
})

/*
 * references.c: tells which living tasks may return into the victim, and how many; of
 * those who only wait for asynchronous calls to be done, with but_waiters, none counts.
 */
int fr_references_tell(const struct module *victim, bool but_waiters);

/* Whether anybody living is in it, its own threads included. */
bool fr_references_inside(const struct module *victim);

/*
 * holders.c: tells which files, sockets, mappings and mounts lead into it, and how
 * many, or an errno.
 */
int fr_holders_tell(struct module *victim);

/* Both: 0, or -EBUSY if there is anybody; with force only if a task runs in it. */
int fr_holders_check(struct module *victim, bool but_waiters);

/* scan.c: copies memory that may not be there, or tells that it is not. */
bool fr_peek(void *to, const void *from, size_t size);

/*
 * scan.c: the words of memory that lead into the victim, remembered until they are
 * forgotten. Without the parameter scan nothing is searched, and nothing found.
 */
int fr_scan(struct module *victim);
void fr_scan_forget(void);
bool fr_scan_done(void);

/* Calls fn for each word that still does, by an address of the direct map, as above. */
int fr_scan_each(struct module *victim,
		 int (*fn)(struct module *victim, unsigned long *word, void *data), void *data);

/* proof.c: whether memory is somebody's variable, neither allocated nor the victim's. */
bool fr_proof_is_static(const struct module *victim, unsigned long address);

/* 0, or -EBUSY if one of them is certainly alive. Before the victim is freed. */
int fr_proof_check(struct module *victim);

/* The slab object that a word lies in, or false. */
struct fr_object {
	char cache[32];
	unsigned long start, size;
};

bool fr_proof_object(const unsigned long *at, struct fr_object *object);

/* Somebody's variable that a list leads to which the object is on, or 0. */
unsigned long fr_proof_object_anchor(const struct module *victim, const struct fr_object *object);

/* What the kernel knows of every module by itself: trace events, messages, parameters. */
bool fr_proof_is_described(unsigned long value);

/*
 * owners.c: 0, or -EBUSY if references that nobody is found to hold may be the
 * kernel's own, for something of the victim's that it uses.
 */
int fr_owners_check(struct module *victim);

/* devices.c: all registered devices, under a spinlock. */
int fr_devices_each(int (*fn)(struct device *dev, void *data), void *data);
u64 fr_devices_order(const struct kobject *kobj);

/*
 * devres.c: a device with a driver of the victim's for which devres keeps something
 * that begins with these words; with a reference; or NULL.
 */
#define FR_DEVRES_WORDS 2
struct device *fr_devres_find(const struct module *victim, const unsigned long *words,
			      size_t count);

/* Whether an object lies in what devres keeps for a device. */
bool fr_devres_covers(struct device *dev, const void *object);

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

/*
 * guard_journal.c: when an object was registered, larger for later, 0 if unknown;
 * and what fr_victim_each_word() does for what the victim keeps nowhere.
 */
unsigned int fr_journal_serial(const void *object);
int fr_journal_each_word(struct module *victim,
			 int (*fn)(struct module *victim, unsigned long *word, void *data),
			 void *data);

/* Held by whoever undoes anything: it is done for one victim at a time. */
extern struct mutex fr_undo_lock;

/* What has been undone, for one line of the log; whoever wants it empties it before. */
#define FR_UNDONE_SIZE 400
extern char fr_undone[FR_UNDONE_SIZE];

/*
 * undo_probe.c: 0, or -EBUSY if a device's lock cannot be had; that of a
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

/* undo_proc.c, undo_sysfs.c, undo_debugfs.c: whether the victim is behind an open file. */
struct file;
struct inode;

bool fr_proc_is_opened(struct module *victim, const struct inode *inode);
bool fr_sysfs_is_opened(const struct module *victim, const struct inode *inode);
bool fr_debugfs_is_opened(struct module *victim, const struct file *file);

/* undo_filesystem.c: the n-th type of the victim's that is mounted, or NULL. */
struct file_system_type *fr_filesystem_mounted(struct module *victim, int n);

/*
 * undo_driver.c: keeps a driver's remove from being called, until it is put back;
 * false if that cannot be done for a driver of its bus.
 */
struct fr_remove {
	void *saved[2];	/* platform drivers of some kernels have two */
};

bool fr_driver_silence(const struct module *victim, struct device_driver *drv,
		       struct fr_remove *remove);
void fr_driver_restore(const struct module *victim, struct device_driver *drv,
		       const struct fr_remove *remove);

/* undo_thread.c: whether a task is a living kernel thread of the victim's own. */
bool fr_thread_is_of(struct task_struct *task, const struct module *victim);

/* undo_<kind>.c: rows of the table in undo.c */
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
