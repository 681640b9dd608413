/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - what differs between kernels and between architectures
 *
 * Force-included by every Kbuild of this folder. The modules are written for
 * the newest kernel (7.3); what an older one lacks is supplied here, each shim
 * with the change that made it necessary. What a module needs to know of the
 * kernel's private structures is here too, since that also ages by version.
 */
#ifndef KMOD_COMPAT_H
#define KMOD_COMPAT_H

/* Before any header: printk.h defines its own where there is none. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/async.h>
#include <linux/cdev.h>
#include <linux/completion.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/kernfs.h>
#include <linux/klist.h>
#include <linux/kobject.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/unistd.h>
#include <linux/version.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <net/net_namespace.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#include <net/hotdata.h>
#endif

/*
 * The newest kernel whose private structures were compared with those here, and
 * which those are.
 */
#define COMPAT_NEWEST KERNEL_VERSION(7, 3, 255)
#define COMPAT_KNOWN (LINUX_VERSION_CODE <= COMPAT_NEWEST)
#define COMPAT_PRIVATE \
	"module_use, module_param_attrs, idempotent, async_entry, worker, " \
	"device_private, driver_private, subsys_private, kobj_map, " \
	"char_device_struct, workqueue_struct, kmem_cache, slab, slab_sheaf, " \
	"static_call_mod, static_key_mod, module_sect_attrs, execmem_cache, " \
	"proc_dir_entry, debugfs_inode_info, kernfs_root, mutex, hrtimer_clock_base"

/*
 * f39650de687e ("kernel.h: split out panic and oops helpers") (in v5.14).
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#include <linux/panic_notifier.h>
#endif

/*
 * ac3b43283923 ("module: replace module_layout with module_memory") (in v6.4):
 * before, a module had two areas, each cut into ranges by running totals:
 * text | rodata | read-only after init | data.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
enum mod_mem_type {
	MOD_TEXT,
	MOD_DATA,
	MOD_RODATA,
	MOD_RO_AFTER_INIT,
	MOD_INIT_TEXT,
	MOD_INIT_DATA,
	MOD_INIT_RODATA,
	MOD_MEM_NUM_TYPES,
};

static inline void *compat_module_mem(const struct module *mod, enum mod_mem_type type,
				      size_t *size)
{
	const struct module_layout *core = &mod->core_layout;
	const struct module_layout *init = &mod->init_layout;

	switch (type) {
	case MOD_TEXT:
		*size = core->text_size;
		return core->base;
	case MOD_RODATA:
		*size = core->ro_size - core->text_size;
		return core->base + core->text_size;
	case MOD_RO_AFTER_INIT:
		*size = core->ro_after_init_size - core->ro_size;
		return core->base + core->ro_size;
	case MOD_DATA:
#ifdef CONFIG_ARCH_WANTS_MODULES_DATA_IN_VMALLOC
		*size = mod->data_layout.size;
		return mod->data_layout.base;
#else
		*size = core->size - core->ro_after_init_size;
		return core->base + core->ro_after_init_size;
#endif
	case MOD_INIT_TEXT:
		*size = init->text_size;
		return init->base;
	case MOD_INIT_RODATA:
		*size = init->ro_size - init->text_size;
		return init->base + init->text_size;
	case MOD_INIT_DATA:
		*size = init->size - init->ro_size;
		return init->base + init->ro_size;
	default:
		*size = 0;
		return NULL;
	}
}

static inline bool within_module_mem_type(unsigned long addr, const struct module *mod,
					  enum mod_mem_type type)
{
	size_t size;
	void *base = compat_module_mem(mod, type, &size);

	return addr - (unsigned long)base < size;
}
#else
static inline void *compat_module_mem(const struct module *mod, enum mod_mem_type type,
				      size_t *size)
{
	*size = mod->mem[type].size;
	return mod->mem[type].base;
}
#endif

/*
 * 2f064a59a11f ("sched: Change task_struct::state") (in v5.14) renamed the
 * field.
 */
static inline unsigned int compat_task_state(const struct task_struct *task)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	return READ_ONCE(task->state);
#else
	return READ_ONCE(task->__state);
#endif
}

/* A kernel for one processor has no on_cpu: only current runs there. */
static inline bool compat_task_on_cpu(const struct task_struct *task)
{
#ifdef CONFIG_SMP
	return READ_ONCE(task->on_cpu);
#else
	return task == current;
#endif
}

/* The reference that every module starts with (kernel/module/main.c). */
#ifndef MODULE_REF_BASE
#define MODULE_REF_BASE 1
#endif

/*
 * One user of a module, as it hangs in the used module's source_list. Own name,
 * since bb02f22eaabc ("module: move 'struct module_use' to internal.h") took the
 * kernel's out of the public headers; the layout is the same in all versions.
 */
struct compat_module_use {
	struct list_head source_list;
	struct list_head target_list;
	struct module *source;
	struct module *target;
};

/*
 * How many symbols a module exports; and none from then on. By v7.2 those for GPL only
 * were no longer apart.
 */
static inline unsigned int compat_module_exports(const struct module *mod)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	return mod->num_syms + mod->num_gpl_syms;
#else
	return mod->num_syms;
#endif
}

static inline void compat_module_hide_exports(struct module *mod)
{
	mod->num_syms = 0;
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	mod->num_gpl_syms = 0;
#endif
}

/* trace_remove_event_call() is exported by v6.1, but not by v5.10. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
#define COMPAT_HAVE_REMOVE_EVENT 1
#else
#define COMPAT_HAVE_REMOVE_EVENT 0
#endif

/*
 * 9b9879fc0327 ("modules: catch concurrent module loads, treat them as
 * idempotent") (in v6.5): finit_module() keeps an entry on its own stack for
 * every load in progress, in idem_hash[], guarded by idem_lock. Private to
 * kernel/module/main.c; same layout up to v7.3.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define COMPAT_HAVE_IDEMPOTENT 1
#else
#define COMPAT_HAVE_IDEMPOTENT 0
#endif

#define COMPAT_IDEM_HASH_BITS 8

struct compat_idempotent {
	const void *cookie;
	struct hlist_node entry;
	struct completion complete;
	int ret;
};

/*
 * 763ecb035029 ("mm: remove the vma linked list") (in v6.1): before, the areas of
 * a process were a list.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
#define compat_for_each_vma(mm, vma) \
	for (VMA_ITERATOR(vmi_, mm, 0); ((vma) = vma_next(&vmi_)); )
#else
#define compat_for_each_vma(mm, vma) \
	for ((vma) = (mm)->mmap; (vma); (vma) = (vma)->vm_next)
#endif

/* By v6.1 vmalloc_to_page() knows large mappings; 5.10 warns of them. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 16, 0)
#define COMPAT_HUGE_VMALLOC_WARNS 1
#else
#define COMPAT_HUGE_VMALLOC_WARNS 0
#endif

/*
 * The owner of a mutex, whose lowest bits are flags; all versions up to v7.3. A real-time
 * kernel has an rt_mutex in its place: 830e6acc8a1c ("locking/rtmutex: Split out the inner
 * parts of 'struct rtmutex'") (in v5.15), and the RT patches before.
 */
static inline unsigned long compat_mutex_owner(const struct mutex *lock)
{
#ifndef CONFIG_PREEMPT_RT
	return atomic_long_read(&lock->owner) & ~7UL;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 15, 0)
	return (unsigned long)READ_ONCE(lock->rtmutex.owner) & ~7UL;
#else
	return (unsigned long)READ_ONCE(lock->lock.owner) & ~7UL;
#endif
}

/*
 * The task that holds a semaphore for writing, or 0; kernel/locking/rwsem.c up to v7.3, and
 * rwbase_rt.c, whose WRITER_BIAS is bit 30 of the readers.
 */
static inline unsigned long compat_rwsem_writer(const struct rw_semaphore *sem)
{
#ifndef CONFIG_PREEMPT_RT
	if (!(atomic_long_read(&sem->count) & 1))
		return 0;

	return atomic_long_read(&sem->owner) & ~7UL;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 15, 0)
	if (atomic_read(&sem->rwbase.readers) != 1 << 30)
		return 0;

	return (unsigned long)READ_ONCE(sem->rwbase.rtmutex.owner) & ~7UL;
#else
	if (atomic_read(&sem->readers) != 1 << 30)
		return 0;

	return (unsigned long)READ_ONCE(sem->rtmutex.owner) & ~7UL;
#endif
}

/* The files of a module's parameters, private to kernel/params.c; v5.10 to v7.3. */
struct compat_param_attribute {
	struct module_attribute mattr;
	const struct kernel_param *param;
};

struct compat_module_param_attrs {
	unsigned int num;
	struct attribute_group grp;
	struct compat_param_attribute attrs[];
};

/* An asynchronous call, private to kernel/async.c; same layout v5.10 to v7.3. */
struct compat_async_entry {
	struct list_head domain_list;
	struct list_head global_list;
	struct work_struct work;
	async_cookie_t cookie;
	async_func_t func;
	void *data;
	struct async_domain *domain;
};

/*
 * The beginning of struct worker, kernel/workqueue_internal.h; v5.10 to v7.3.
 * Behind it, before the last of so many words, stands the worker's task.
 */
#define COMPAT_WORKER_WORDS 24

struct compat_worker {
	struct list_head entry;
	struct work_struct *current_work;
};

/* The driver core's own parts of device and driver, drivers/base/base.h. */
struct compat_device_private {
	struct klist klist_children;
	struct klist_node knode_parent;
	struct klist_node knode_driver;
	struct klist_node knode_bus;
	struct klist_node knode_class;
	struct list_head deferred_probe;
	const struct device_driver *async_driver;
	char *deferred_probe_reason;
	struct device *device;
};

struct compat_driver_private {
	struct kobject kobj;
	struct klist klist_devices;
	struct klist_node knode_bus;
	struct module_kobject *mkobj;
	struct device_driver *driver;
};

/*
 * 5c5a7680e67b ("platform: Provide a remove callback that returns no value") (in v6.3,
 * and in later v6.1.y): platform drivers had two removes next to each other, until both
 * were one again in v6.11.
 */
#define COMPAT_PLATFORM_REMOVES \
	((offsetof(struct platform_driver, shutdown) - \
	  offsetof(struct platform_driver, remove)) / sizeof(void *))

/* The same of buses and classes. */
struct compat_subsys_private {
	struct kset subsys;
	struct kset *devices_kset;
	struct list_head interfaces;
	struct mutex mutex;
	struct kset *drivers_kset;
	struct klist klist_devices;
	struct klist klist_drivers;
	struct blocking_notifier_head bus_notifier;
	unsigned int drivers_autoprobe : 1;
	const struct bus_type *bus;
/* Moved here from struct bus_type in v6.4. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	struct device *dev_root;
#endif
	struct kset glue_dirs;
	const struct class *class;
};

/* Character devices by number, drivers/base/map.c and fs/char_dev.c. */
#define COMPAT_CHRDEV_BUCKETS 255

struct compat_probe {
	struct compat_probe *next;
	dev_t dev;
	unsigned long range;
	struct module *owner;
	void *get;
	void *lock;
	void *data;
};

struct compat_kobj_map {
	struct compat_probe *probes[COMPAT_CHRDEV_BUCKETS];
	struct mutex *lock;
};

struct compat_char_device_struct {
	struct compat_char_device_struct *next;
	unsigned int major;
	unsigned int baseminor;
	int minorct;
	char name[64];
	struct cdev *cdev;
};

/*
 * struct workqueue_struct up to its name. 5797b1c18919 ("workqueue: Implement
 * system-wide nr_active enforcement for unbound workqueues") (in v6.9) put limits
 * in between, and 31c89007285d ("workqueue.c: Increase workqueue name length")
 * (in v6.9) made the name longer.
 */
struct compat_workqueue {
	struct list_head pwqs;
	struct list_head list;
	struct mutex mutex;
	int work_color;
	int flush_color;
	atomic_t nr_pwqs_to_flush;
	void *first_flusher;
	struct list_head flusher_queue;
	struct list_head flusher_overflow;
	struct list_head maydays;
	void *rescuer;
	int nr_drainers;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	int max_active;
	int min_active;
	int saved_max_active;
	int saved_min_active;
#else
	int saved_max_active;
#endif
	void *attrs;
	void *dfl_pwq;
#ifdef CONFIG_SYSFS
	void *wq_dev;
#endif
#ifdef CONFIG_LOCKDEP
#error "a workqueue of a kernel with lockdep is another structure"
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	char name[32];
#else
	char name[24];
#endif
};

/* The part of a work item's word that is an address; another name before v6.9. */
#ifndef WORK_STRUCT_PWQ_MASK
#define WORK_STRUCT_PWQ_MASK WORK_STRUCT_WQ_DATA_MASK
#endif

/*
 * A thread, not running yet, whose function is kthread_stop() itself, so that waiting for another
 * thread needs no code of ours. Where indirect calls are checked for their type
 * that cannot be.
 */
static inline struct task_struct *compat_kthread_stopper(struct task_struct *thread)
{
#if defined(CONFIG_CFI_CLANG) || defined(CONFIG_CFI)
	return ERR_PTR(-EOPNOTSUPP);
#else
	void *stop = kthread_stop;

	return kthread_create((int (*)(void *))stop, thread, "stop/%s", thread->comm);
#endif
}

/*
 * What a kernel thread has of its own. e32cf5dfbe22 ("kthread: Generalize pf_io_worker so it
 * can point to struct kthread") (in v5.17).
 */
static inline void *compat_kthread_private(const struct task_struct *task)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
	return task->worker_private;
#else
	return (__force void *)task->set_child_tid;
#endif
}

/*
 * 60443c88f3a8 ("kallsyms: Improve the performance of kallsyms_lookup_name()") (in
 * v6.2, and Debian's 6.1 is as quick): before, a name was searched for among all.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#define COMPAT_SLOW_KALLSYMS 1
#else
#define COMPAT_SLOW_KALLSYMS 0
#endif

/* kernel/kprobes.c: KPROBE_HASH_BITS, all versions up to v7.3. */
#define COMPAT_KPROBE_HASH_BITS 6
#define COMPAT_KPROBE_BUCKETS (1 << COMPAT_KPROBE_HASH_BITS)

/*
 * fs/proc/internal.h. By v7.2 an entry had no dentry operations any more.
 */
struct compat_proc_dir_entry {
	atomic_t in_use;
	refcount_t refcnt;
	struct list_head pde_openers;
	spinlock_t pde_unload_lock;
	struct completion *pde_unload_completion;
	const void *proc_iops;
	const void *proc_ops;
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	const void *proc_dops;
#endif
	const void *seq_ops;
	const void *write;
	void *data;
	unsigned int state_size;
	unsigned int low_ino;
	nlink_t nlink;
	kuid_t uid;
	kgid_t gid;
	loff_t size;
	struct compat_proc_dir_entry *parent;
	struct rb_root subdir;
	struct rb_node subdir_node;
	char *name;
	umode_t mode;
};

/*
 * da549bdd15c2 ("dentry: switch the lists of children to hlist") (in v6.8).
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define compat_for_each_child(child, parent) \
	hlist_for_each_entry(child, &(parent)->d_children, d_sib)
#else
#define compat_for_each_child(child, parent) \
	list_for_each_entry(child, &(parent)->d_subdirs, d_child)
#endif

/*
 * The operations that a debugfs file was made with. 95688800eefe ("debugfs: don't
 * mess with bits in ->d_fsdata") (in v6.15) moved them into the inode; before, they
 * were in the dentry: themselves, with the lowest bit set, until the first open,
 * then what begins with a pointer to them.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
struct compat_debugfs_inode {
	struct inode vfs_inode;
	const void *raw;
	void *aux;
};

static inline const void *compat_debugfs_ops(const struct dentry *dentry)
{
	return container_of(d_inode(dentry), struct compat_debugfs_inode, vfs_inode)->raw;
}
#else
static inline const void *compat_debugfs_ops(const struct dentry *dentry)
{
	unsigned long data = (unsigned long)READ_ONCE(dentry->d_fsdata);

	if (data & 1)
		return (const void *)(data & ~1UL);

	return data ? *(const void **)data : NULL;
}
#endif

/* Whether an address lies where modules do, or where else memory is mapped page by page. */
static inline bool compat_is_module_address(const void *address)
{
#ifdef MODULES_VADDR
	if ((unsigned long)address >= MODULES_VADDR && (unsigned long)address < MODULES_END)
		return true;
#endif
	return is_vmalloc_addr(address);
}

/*
 * 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent.") (in v6.15).
 */
static inline struct kernfs_node *compat_kernfs_parent(const struct kernfs_node *node)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	return rcu_dereference_raw(node->__parent);
#else
	return node->parent;
#endif
}

/*
 * The lock of sysfs. 7ba0273b2f34 ("kernfs: switch kernfs to use an rwsem") (in
 * v5.15) and 393c3714081a ("kernfs: switch global kernfs_rwsem lock to per-fs
 * lock") (in v5.16); before v5.15 a mutex. The root of a tree stands in
 * fs/kernfs/kernfs-internal.h; by v7.2 it had got a lock for its numbers.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define COMPAT_HAVE_KERNFS_MUTEX 0

struct compat_kernfs_root {
	struct kernfs_node *kn;
	unsigned int flags;
	struct idr ino_idr;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	spinlock_t kernfs_idr_lock;
#endif
	u32 last_id_lowbits;
	u32 id_highbits;
	void *syscall_ops;
	struct list_head supers;
	wait_queue_head_t deactivate_waitq;
	struct rw_semaphore kernfs_rwsem;
};

/* Lists of it that must be whole, if it is what it should be. */
#define COMPAT_KERNFS_LISTS(root) { \
	&((struct compat_kernfs_root *)(root)->dir.root)->supers, \
	&((struct compat_kernfs_root *)(root)->dir.root)->deactivate_waitq.head, \
}

static inline bool compat_kernfs_trylock(struct kernfs_node *root, struct mutex *lock)
{
	struct compat_kernfs_root *tree = (struct compat_kernfs_root *)root->dir.root;

	return down_read_trylock(&tree->kernfs_rwsem);
}

static inline void compat_kernfs_unlock(struct kernfs_node *root, struct mutex *lock)
{
	up_read(&((struct compat_kernfs_root *)root->dir.root)->kernfs_rwsem);
}
#elif LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0)
#define COMPAT_HAVE_KERNFS_MUTEX 1
#define COMPAT_KERNFS_LISTS(root) { }

static inline bool compat_kernfs_trylock(struct kernfs_node *root, struct mutex *lock)
{
	return mutex_trylock(lock);
}

static inline void compat_kernfs_unlock(struct kernfs_node *root, struct mutex *lock)
{
	mutex_unlock(lock);
}
#else
#error "v5.15 locks sysfs in a way of its own"
#endif

/* What kernfs adds to the count of those who use a node when it goes; and who waits for them. */
#define COMPAT_KERNFS_BIAS (INT_MIN + 1)

static inline wait_queue_head_t *compat_kernfs_waiters(struct kernfs_node *root)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	return &((struct compat_kernfs_root *)root->dir.root)->deactivate_waitq;
#else
	return &root->dir.root->deactivate_waitq;
#endif
}

/* The beginning of struct hrtimer_clock_base, no longer public in v7.3. */
struct compat_hrtimer_clock_base {
	void *cpu_base;
	unsigned int index;
};

/*
 * 908a1d775422 ("hrtimers: Introduce hrtimer_setup() to replace hrtimer_init()")
 * (in v6.13) and 9779489a31d7 ("hrtimers: Delete hrtimer_init()") (in v6.15).
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define compat_hrtimer_setup(timer, call, clock, mode) hrtimer_setup(timer, call, clock, mode)
#else
#define compat_hrtimer_setup(timer, call, clock, mode) do { \
	hrtimer_init(timer, clock, mode); \
	(timer)->function = call; \
} while (0)
#endif

/*
 * acc154691fc7 ("sysctl: Warn on an empty procname element") (in v6.11): before, a
 * table ended at an element without a name, from then on that is an error.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define COMPAT_SYSCTL_END
#else
#define COMPAT_SYSCTL_END { }
#endif

/*
 * By v7.2 the list of file systems had become an hlist, which is read under RCU, and its
 * lock another one, for writers only.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define COMPAT_HAVE_FILESYSTEMS_LOCK 0
#define compat_for_each_filesystem(type, head) \
	hlist_for_each_entry_rcu(type, (struct hlist_head *)(head), list)

static inline void compat_filesystems_lock(rwlock_t *lock)
{
	rcu_read_lock();
}

static inline void compat_filesystems_unlock(rwlock_t *lock)
{
	rcu_read_unlock();
}
#else
#define COMPAT_HAVE_FILESYSTEMS_LOCK 1

static inline void compat_filesystems_lock(rwlock_t *lock)
{
	read_lock(lock);
}

static inline void compat_filesystems_unlock(rwlock_t *lock)
{
	read_unlock(lock);
}

#define compat_for_each_filesystem(type, head) \
	for ((type) = *(struct file_system_type **)(head); (type); (type) = (type)->next)
#endif

/*
 * What a task has to remember of functions whose return is traced or probed:
 * d741bf41d7c7 ("kprobes: Remove kretprobe hash") (in v5.11), 54ecbe6f1ed5
 * ("rethook: Add a generic return hook") (in v5.18).
 */
#if defined(CONFIG_KRETPROBES) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
#define COMPAT_HAVE_KRETPROBE_INSTANCES
#endif

struct compat_return_hooks {
	int stack, depth;
	struct llist_node *probes, *hooks;
};

static inline void compat_return_hooks_save(struct compat_return_hooks *saved)
{
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	saved->stack = current->curr_ret_stack;
	saved->depth = current->curr_ret_depth;
#endif
#ifdef COMPAT_HAVE_KRETPROBE_INSTANCES
	saved->probes = current->kretprobe_instances.first;
#endif
#ifdef CONFIG_RETHOOK
	saved->hooks = current->rethooks.first;
#endif
}

/* Forgets what came since; returns whether there was anything. */
static inline bool compat_return_hooks_restore(const struct compat_return_hooks *saved)
{
	struct compat_return_hooks now = { };

	compat_return_hooks_save(&now);
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	current->curr_ret_stack = saved->stack;
	current->curr_ret_depth = saved->depth;
#endif
#ifdef COMPAT_HAVE_KRETPROBE_INSTANCES
	current->kretprobe_instances.first = saved->probes;
#endif
#ifdef CONFIG_RETHOOK
	current->rethooks.first = saved->hooks;
#endif
	return now.stack != saved->stack || now.probes != saved->probes ||
	       now.hooks != saved->hooks;
}

/* d741bf41d7c7 ("kprobes: Remove kretprobe hash") (in v5.11) moved it. */
static inline struct kretprobe *compat_kretprobe(struct kretprobe_instance *instance)
{
#ifdef COMPAT_HAVE_KRETPROBE_INSTANCES
	return get_kretprobe(instance);
#else
	return instance->rp;
#endif
}

/*
 * Whether what is allocated at an address keeps what a probe has seen of a call: one
 * call, or since 4bbd93455659 ("kprobes: kretprobe scalability improvement") (in v6.7)
 * all of a processor.
 */
static inline bool compat_kretprobe_has(const struct kretprobe *probe, const void *start)
{
#if !defined(CONFIG_KRETPROBE_ON_RETHOOK) && defined(COMPAT_HAVE_KRETPROBE_INSTANCES)
	return ((const struct kretprobe_instance *)start)->rph == probe->rph;
#elif !defined(CONFIG_KRETPROBE_ON_RETHOOK)
	return ((const struct kretprobe_instance *)start)->rp == probe;
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	return ((const struct rethook_node *)start)->rethook == probe->rh;
#else
	int cpu;

	for_each_possible_cpu(cpu)
		if (probe->rh->pool.cpu_slots[cpu] == start)
			return true;

	return false;
#endif
}

/*
 * Waits until what kfree_rcu() was given has been freed: in v6.12 2b55d6a42d14
 * ("rcu/kvfree: Add kvfree_rcu_barrier() API") made that a function, which v7.3 does
 * not export, where such objects are on the lists of free ones at once. Before, they
 * waited on a list for 20 ms, and from v6.1 on for 5 s.
 */
static inline void compat_wait_for_frees(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
	kvfree_rcu_barrier();
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
	msleep(5500);
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
	msleep(60);
#endif
	rcu_barrier();
}

/*
 * Handlers of all packets: a list of the kernel's, in v6.9 part of net_hotdata, in v7.0
 * each network namespace's own.
 */
#define COMPAT_HAVE_PTYPE_ALL (LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0))

static inline const struct list_head *compat_all_handlers(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	return &net_hotdata.ptype_all;
#else
	return NULL;
#endif
}

static inline const struct list_head *compat_net_handlers(const struct net *net)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	return &net->ptype_all;
#else
	return NULL;
#endif
}

/* 6.0: capital letters are keys of their own. */
#define COMPAT_SYSRQ_KEYS (LINUX_VERSION_CODE < KERNEL_VERSION(6, 0, 0) ? 36 : 62)

/* kernel/cpu.c, v5.10 to v7.3. */
struct compat_cpuhp_step {
	const char *name;
	const void *startup, *teardown;
	struct hlist_head list;
	bool cant_stop, multi_instance;
};

/* af449901b84c ("sched: Add migrate_disable()") (in v5.11). */
#if defined(CONFIG_SMP) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
#define compat_migration_disabled() ((int)current->migration_disabled)
#else
#define compat_migration_disabled() 0
#endif

/*
 * Takes a signal of current, if one is pending that is not among others.
 * 5768d8906bc2 ("signal: Requeue signals in the appropriate queue") (in v5.17) and
 * the removal of the task argument by v6.12.
 */
static inline int compat_dequeue_signal(sigset_t *others)
{
	struct sighand_struct *sighand = rcu_dereference_raw(current->sighand);
	kernel_siginfo_t info;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
	enum pid_type type;
#endif
	int ret;

	spin_lock_irq(&sighand->siglock);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	ret = dequeue_signal(others, &info, &type);
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
	ret = dequeue_signal(current, others, &info, &type);
#else
	ret = dequeue_signal(current, others, &info);
#endif
	spin_unlock_irq(&sighand->siglock);

	return ret;
}

/*
 * The slab allocator: where struct page, later struct slab, has its cache and its free
 * objects, and a cache its stride, the place of the link in a free object, its name and
 * the word that encodes links. 5.17 to 6.1 had the two lists of struct slab the other way
 * round. 2d517aa09bbc ("slab: add opt-in caching layer of percpu sheaves") (in v6.18): by
 * v7.2 free objects of a processor are in arrays, and of a node in two lists of those.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define COMPAT_SLAB_CACHE_AT 24
#else
#define COMPAT_SLAB_CACHE_AT 8
#endif
#define COMPAT_SLAB_FREE_AT 32
#define COMPAT_CACHE_SIZE_AT 24
#define COMPAT_CACHE_LINK_AT 40
#define COMPAT_CACHE_LEFT_AT (COMPAT_CACHE_NAME_AT - 8)
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define COMPAT_HAVE_SHEAVES 1
#define COMPAT_CACHE_NAME_AT 88
#define COMPAT_CACHE_RANDOM_AT 176
#define COMPAT_CACHE_BARNS_AT 208
#define COMPAT_SHEAF_LIST_AT 0
#define COMPAT_SHEAF_SIZE_AT 24
#define COMPAT_SHEAF_OBJECTS_AT 32
#else
#define COMPAT_HAVE_SHEAVES 0
#define COMPAT_CACHE_NAME_AT 96
#define COMPAT_CACHE_RANDOM_AT 184
#endif

/*
 * Free pages of a processor. 28f836b6777b ("mm/page_alloc: split per cpu page lists and
 * zone stats") and 44042b449872 ("mm/page_alloc: allow high-order pages to be stored on
 * the per-cpu lists") (both in v5.14): before, single pages only.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#define compat_zone_pages(zone, cpu) per_cpu_ptr((zone)->per_cpu_pageset, cpu)
/* The last lists are of the huge ones. */
#define compat_pages_order(list) \
	((list) < MIGRATE_PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1) ? (list) / MIGRATE_PCPTYPES : \
	 (unsigned int)(PMD_SHIFT - PAGE_SHIFT))
#else
#define compat_zone_pages(zone, cpu) (&per_cpu_ptr((zone)->pageset, cpu)->pcp)
#define compat_pages_order(list) 0U
#endif

/* 0ce20dd84089 ("mm: add Kernel Electric-Fence infrastructure") (in v5.12). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 12, 0)
#include <linux/kfence.h>
#define compat_is_kfence(address) is_kfence_address(address)
#else
#define compat_is_kfence(address) false
#endif

/* What do_init_module() allocates to free the init part: kernel/module/main.c. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define COMPAT_INITFREE_PARTS 3
#else
#define COMPAT_INITFREE_PARTS 1
#endif

/* The tree by which an address is found in a module; how many nodes, and the i-th. */
#ifdef CONFIG_MODULES_TREE_LOOKUP
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define COMPAT_MODULE_TREE_NODES MOD_MEM_NUM_TYPES
#define compat_module_tree_node(module, i) (&(module)->mem[i].mtn)
#else
#define COMPAT_MODULE_TREE_NODES 2
#define compat_module_tree_node(module, i) \
	((i) ? &(module)->init_layout.mtn : &(module)->core_layout.mtn)
#endif
#endif

/*
 * The n-th section of a module, as sysfs shows it: its address and its name; false after
 * the last. 4b2c11e4aaf7 ("module: sysfs: Drop 'struct module_sect_attr'") (in v6.14).
 */
#ifdef CONFIG_KALLSYMS
static inline bool compat_section(const struct module *mod, unsigned int n,
				  unsigned long *address, const char **name)
{
	const struct attribute_group *group = (const void *)mod->sect_attrs;
	struct bin_attribute *const *files = (struct bin_attribute *const *)group->bin_attrs;

	if (!files || !files[n])
		return false;

	*name = files[n]->attr.name;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	*address = (unsigned long)files[n]->private;
#else
	*address = *(unsigned long *)(files[n] + 1);
#endif
	return true;
}
#endif

/* A module's notes were in a folder of their own, whose object came first, until v6.14. */
#define COMPAT_HAVE_NOTES_DIR (LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0))

/* kernel/static_call_inline.c and kernel/jump_label.c, v5.10 to v7.3. */
struct compat_static_call_mod {
	struct compat_static_call_mod *next;
	struct module *mod;
	void *sites;
};

struct compat_static_key_mod {
	struct compat_static_key_mod *next;
	void *entries;
	struct module *mod;
};

/* mm/execmem.c: 2e45474ab14f ("execmem: add support for cache of large ROX pages") (in v6.13). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define COMPAT_HAVE_EXECMEM_CACHE 1

#include <linux/maple_tree.h>

struct compat_execmem_cache {
	struct mutex mutex;
	struct maple_tree busy_areas;
	struct maple_tree free_areas;
};
#else
#define COMPAT_HAVE_EXECMEM_CACHE 0
#endif

/*
 * Architectures: a block here is all that a new one needs.
 *
 * compat_task_sp()	  stack pointer of a task that is not running
 * compat_is_finit_module() whether a system call number is finit_module's
 * compat_image_address()  where the kernel's own variables lie, by physical address
 */
#if defined(CONFIG_X86_64)
static inline unsigned long compat_task_sp(const struct task_struct *task)
{
	return READ_ONCE(task->thread.sp);
}

/* 350 is the number of 32-bit callers; their table is not in the headers. */
static inline bool compat_is_finit_module(long nr)
{
	return nr == __NR_finit_module || (IS_ENABLED(CONFIG_IA32_EMULATION) && nr == 350);
}

static inline unsigned long compat_image_address(phys_addr_t physical)
{
	return physical - phys_base + __START_KERNEL_map;
}
#elif defined(CONFIG_ARM64)
static inline unsigned long compat_task_sp(const struct task_struct *task)
{
	return READ_ONCE(task->thread.cpu_context.sp);
}

static inline bool compat_is_finit_module(long nr)
{
	return nr == __NR_finit_module || (IS_ENABLED(CONFIG_COMPAT) && nr == 379);
}

static inline unsigned long compat_image_address(phys_addr_t physical)
{
	return __phys_to_kimg(physical);
}
#else
#error "this architecture has no block in compat.h yet"
#endif

/*
 * What reads or writes a binary file of sysfs gets a constant attribute since commit
 * 97d06802d10a ("sysfs: constify bin_attribute argument of bin_attribute::read/write()")
 * (in v6.16).
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
typedef const struct bin_attribute compat_bin_attribute;
#else
typedef struct bin_attribute compat_bin_attribute;
#endif

#endif /* KMOD_COMPAT_H */
