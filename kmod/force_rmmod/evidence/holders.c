// SPDX-License-Identifier: GPL-2.0-only
/*
 * holders.c - files, sockets, mappings and mounts that lead into the victim
 *
 * Whoever has one of them open will call the victim's code. Each is named with
 * the task's pid, command and descriptor. A file leads into the victim if its
 * operations, its inode's or its file system do, if its character or block device is
 * the victim's, or what the victim has in /proc, sysfs or debugfs is behind it; a
 * socket, if its operations or its protocol do.
 *
 * Where a file system is mounted is read from /proc/PID/mountinfo, once for each
 * namespace of mounts: how the kernel itself keeps it changes with every version.
 */
#include <linux/blkdev.h>
#include <linux/cdev.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/nsproxy.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <net/sock.h>

#include "evidence/evidence.h"
#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_HOLDERS_PATH 128
#define FR_HOLDERS_NAMESPACES 64	/* that are looked at */

struct fr_holders {
	struct fr_rescue *rescue;
	struct task_struct *task;
	int count;
};

/* ---- files and sockets ---- */

/* What a module that was given up has left open may be no memory any more. */
static bool fr_holders_owner(struct module *const *owner, const struct module *victim)
{
	return fr_victim_has(victim, owner) || fr_layout_is_word(owner, victim);
}

static bool fr_holders_ops(const struct file_operations *ops, const struct module *victim)
{
	return ops && fr_holders_owner(&ops->owner, victim);
}

/* The socket behind a file, if it is one that leads into the victim. */
static const struct socket *fr_holders_socket(struct inode *inode, const struct module *victim)
{
	const struct socket *sock;

	if (!S_ISSOCK(inode->i_mode) || inode->i_sb->s_magic != SOCKFS_MAGIC)
		return NULL;

	sock = SOCKET_I(inode);
	if (sock->ops && fr_holders_owner(&sock->ops->owner, victim))
		return sock;
	if (sock->sk && fr_holders_owner(&sock->sk->sk_prot->owner, victim))
		return sock;

	return NULL;
}

/* A block device's own inode is not the one that its name has. */
static bool fr_holders_disk(const struct file *file, const struct module *victim)
{
#ifdef CONFIG_BLOCK
	struct inode *inode = file->f_mapping->host;
	const struct block_device_operations *ops;

	if (!S_ISBLK(file_inode(file)->i_mode) || inode->i_sb->s_magic != BDEVFS_MAGIC)
		return false;

	ops = I_BDEV(inode)->bd_disk ? I_BDEV(inode)->bd_disk->fops : NULL;
	return ops && fr_holders_owner(&ops->owner, victim);
#else
	return false;
#endif
}

static bool fr_holders_file(const struct file *file, struct fr_rescue *rescue)
{
	const struct module *victim = rescue->victim;
	struct inode *inode = file_inode(file);

	return fr_holders_ops(file->f_op, victim) || fr_holders_ops(inode->i_fop, victim) ||
	       fr_holders_owner(&inode->i_sb->s_type->owner, victim) ||
	       (S_ISCHR(inode->i_mode) && inode->i_cdev &&
		fr_holders_owner(&inode->i_cdev->owner, victim)) ||
	       fr_holders_disk(file, victim) || fr_files_is_behind(rescue, file);
}

static const char *fr_holders_name(struct file *file, char *buffer)
{
	const char *path = file_path(file, buffer, FR_HOLDERS_PATH);

	return IS_ERR(path) ? "(a long path)" : path;
}

static int fr_holders_descriptor(const void *data, struct file *file, unsigned int fd)
{
	struct fr_holders *holders = (struct fr_holders *)data;
	const struct socket *sock = fr_holders_socket(file_inode(file), holders->rescue->victim);
	struct fr_holder holder = { .task = holders->task, .descriptor = fd };
	pid_t pid = task_pid_nr(holders->task);
	char buffer[FR_HOLDERS_PATH];

	if (sock) {
		holder.kind = "socket";
		fr_tell_holder(&holder, "pid %d, %s, socket %u, protocol %s", pid,
			       holders->task->comm, fd,
			       sock->sk ? sock->sk->sk_prot->name : "unknown");
	} else if (fr_holders_file(file, holders->rescue)) {
		holder.kind = "file";
		holder.path = fr_holders_name(file, buffer);
		fr_tell_holder(&holder, "pid %d, %s, descriptor %u, %s", pid,
			       holders->task->comm, fd, holder.path);
	} else {
		return 0;
	}

	holders->count++;
	return 0;
}

/* Threads mostly share their files, but need not. */
static void fr_holders_files(struct fr_holders *holders)
{
	struct task_struct *process, *task;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		task_lock(task);
		if (task->files && (task == process || task->files != process->files)) {
			holders->task = task;
			iterate_fd(task->files, 0, fr_holders_descriptor, holders);
		}
		task_unlock(task);
	}
	rcu_read_unlock();
}

/* ---- mappings ---- */

static void fr_holders_mapping(struct fr_holders *holders, const struct vm_area_struct *vma)
{
	struct fr_holder holder = { "mapping", holders->task, -1, NULL };
	char buffer[FR_HOLDERS_PATH];

	if (!fr_victim_has(holders->rescue->victim, vma->vm_ops) &&
	    !(vma->vm_file && fr_holders_file(vma->vm_file, holders->rescue)))
		return;

	if (vma->vm_file)
		holder.path = fr_holders_name(vma->vm_file, buffer);
	fr_tell_holder(&holder, "pid %d, %s, mapping at 0x%lx, %s", task_pid_nr(holders->task),
		       holders->task->comm, vma->vm_start, holder.path ?: "of no file");
	holders->count++;
}

static bool fr_holders_mm(struct fr_holders *holders, struct mm_struct *mm)
{
	struct vm_area_struct *vma;

	if (!fr_try(mmap_read_trylock(mm)))
		return false;

	compat_for_each_vma(mm, vma)
		fr_holders_mapping(holders, vma);

	mmap_read_unlock(mm);
	return true;
}

/* Its first thread may have ended before the others. */
static struct mm_struct *fr_holders_mm_of(struct task_struct *process)
{
	struct task_struct *thread;
	struct mm_struct *mm;

	for_each_thread(process, thread) {
		mm = get_task_mm(thread);
		if (mm)
			return mm;
	}

	return NULL;
}

/* All processes there are now; whoever comes later gets nothing from a module in quarantine. */
static struct task_struct **fr_holders_processes(size_t *count)
{
	struct task_struct *process, **processes;
	size_t limit = 64;

	*count = 0;
	rcu_read_lock();
	for_each_process(process)
		limit++;
	rcu_read_unlock();

	processes = kvmalloc_array(limit, sizeof(*processes), GFP_KERNEL);
	if (!processes)
		return NULL;

	rcu_read_lock();
	for_each_process(process) {
		if (*count == limit)
			break;
		get_task_struct(process);
		processes[(*count)++] = process;
	}
	rcu_read_unlock();

	return processes;
}

static void fr_holders_mappings_of(struct fr_holders *holders)
{
	const struct fr_holder holder = { "mapping", holders->task, -1, NULL };
	struct mm_struct *mm;

	rcu_read_lock();
	mm = fr_holders_mm_of(holders->task);
	rcu_read_unlock();
	if (!mm)
		return;

	if (!fr_holders_mm(holders, mm)) {
		fr_tell_holder(&holder, "pid %d, %s, mapping at unknown, its mappings stay locked",
			       task_pid_nr(holders->task), holders->task->comm);
		holders->count++;
	}
	mmput(mm);
}

static int fr_holders_mappings(struct fr_holders *holders)
{
	struct task_struct **processes;
	size_t i, count;

	processes = fr_holders_processes(&count);
	if (!processes)
		return -ENOMEM;

	for (i = 0; i < count; i++) {
		holders->task = processes[i];
		fr_holders_mappings_of(holders);
		put_task_struct(processes[i]);
	}
	kvfree(processes);

	return 0;
}

/* ---- mounts ---- */

/* A line of mountinfo: the mount point is the fifth word, the type follows " - ". */
static bool fr_holders_line(struct fr_holders *holders, char *line, const char *type)
{
	size_t length = strlen(type);
	char *tail = strstr(line, " - "), *point = NULL;
	struct fr_holder holder;
	int i;

	if (!tail || strncmp(tail + 3, type, length) || tail[3 + length] != ' ')
		return false;
	for (i = 0; i < 5; i++)
		point = strsep(&line, " ");
	if (!point)
		return false;

	holder = (struct fr_holder){ "mount", holders->task, -1, point };
	fr_tell_holder(&holder, "pid %d, %s, mount of %s at %s", task_pid_nr(holders->task),
		       holders->task->comm, type, point);
	holders->count++;
	return true;
}

/* How many mounts of a type a file tells; lines longer than the buffer are left out. */
static int fr_holders_lines(struct fr_holders *holders, struct file *file, const char *type,
			    char *buffer)
{
	char *rest, *line;
	size_t kept = 0;
	int count = 0;
	loff_t at = 0;
	ssize_t got;

	while ((got = kernel_read(file, buffer + kept, PAGE_SIZE - 1 - kept, &at)) > 0) {
		buffer[kept + got] = '\0';
		rest = buffer;
		while (strchr(rest, '\n')) {
			line = strsep(&rest, "\n");
			count += fr_holders_line(holders, line, type);
		}
		kept = strlen(rest);
		if (kept == PAGE_SIZE - 1)
			kept = 0;
		memmove(buffer, rest, kept);
	}

	return count;
}

/* As the process that holders->task is sees them. */
static int fr_holders_seen(struct fr_holders *holders, const char *type)
{
	struct file *file;
	char path[32];
	char *buffer;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", task_pid_vnr(holders->task));
	buffer = kmalloc(PAGE_SIZE, GFP_KERNEL);
	file = filp_open(path, O_RDONLY, 0);
	if (buffer && !IS_ERR(file))
		count = fr_holders_lines(holders, file, type, buffer);

	if (!IS_ERR(file))
		filp_close(file, NULL);
	kfree(buffer);
	return count;
}

/* The n-th namespace of mounts is that of the first process which has none before it. */
static bool fr_holders_namespace(struct fr_holders *holders, const void **known, int count)
{
	const struct mnt_namespace *space;
	struct task_struct *process;
	bool found = false;
	int i;

	rcu_read_lock();
	for_each_process(process) {
		task_lock(process);
		space = process->nsproxy ? process->nsproxy->mnt_ns : NULL;
		task_unlock(process);
		for (i = 0; space && i < count && known[i] != space; i++)
			;
		if (!space || i < count)
			continue;
		known[count] = space;
		holders->task = process;
		get_task_struct(process);
		found = true;
		break;
	}
	rcu_read_unlock();

	return found;
}

static void fr_holders_mounts_of(struct fr_holders *holders, const char *type)
{
	const struct fr_holder unseen = { "mount", NULL, -1, NULL };
	const void *known[FR_HOLDERS_NAMESPACES];
	int count, seen = 0;

	for (count = 0; count < FR_HOLDERS_NAMESPACES; count++) {
		if (!fr_holders_namespace(holders, known, count))
			break;
		seen += fr_holders_seen(holders, type);
		put_task_struct(holders->task);
	}
	if (!seen) {
		fr_tell_holder(&unseen, "a mount of %s that no process sees", type);
		holders->count++;
	}
}

static void fr_holders_mounts(struct fr_holders *holders)
{
	struct file_system_type *type;
	int n;

	for (n = 0; (type = fr_files_mounted(holders->rescue->victim, n)); n++)
		fr_holders_mounts_of(holders, type->name);
}

int fr_holders_tell(struct fr_rescue *rescue)
{
	struct fr_holders holders = { .rescue = rescue };
	int ret;

	/* Looked up now, since that may sleep. */
	fr_lookup("proc_root", sizeof(struct compat_proc_dir_entry));
	fr_lookup("proc_subdir_lock", sizeof(rwlock_t));

	fr_holders_files(&holders);
	ret = fr_holders_mappings(&holders);
	fr_holders_mounts(&holders);
	return ret ? ret : holders.count;
}

int fr_holders_check(struct fr_rescue *rescue, bool but_waiters)
{
	int inside = fr_references_tell(rescue, but_waiters);
	int held = fr_holders_tell(rescue);
	bool force = rescue->options.force;

	if (inside)
		fr_tell(FR_REFUSED, "a living task runs in %s", rescue->victim->name);
	if (held < 0)
		return held;
	if (held && force)
		pr_warn("force: %s is given up although it is in use\n", rescue->victim->name);
	else if (held)
		fr_tell(FR_REFUSED, "%s is in use", rescue->victim->name);

	return inside || (held && !force) ? -EBUSY : held;
}
