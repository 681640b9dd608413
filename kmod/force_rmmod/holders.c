// SPDX-License-Identifier: GPL-2.0-only
/*
 * holders.c - files, sockets, mappings and mounts that lead into the victim
 *
 * Whoever has one of them open will call the victim's code. Each is named with
 * the task's pid, command and descriptor. A file leads into the victim if its
 * operations, its inode's or its file system do, or its character device is the
 * victim's; a socket, if its operations or its protocol do.
 */
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
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include <net/sock.h>

#include "force_rmmod.h"

struct fr_holders {
	const struct module *victim;
	struct task_struct *task;
	int count;
};

static bool fr_holders_ops(const struct file_operations *ops, const struct module *victim)
{
	return ops && (ops->owner == victim || fr_victim_has(victim, ops));
}

static bool fr_holders_socket(struct inode *inode, const struct module *victim)
{
	const struct socket *sock;

	if (!S_ISSOCK(inode->i_mode) || inode->i_sb->s_magic != SOCKFS_MAGIC)
		return false;

	sock = SOCKET_I(inode);
	if (sock->ops && (sock->ops->owner == victim || fr_victim_has(victim, sock->ops)))
		return true;

	return sock->sk && (sock->sk->sk_prot->owner == victim ||
			    fr_victim_has(victim, sock->sk->sk_prot));
}

static bool fr_holders_file(const struct file *file, const struct module *victim)
{
	struct inode *inode = file_inode(file);

	return fr_holders_ops(file->f_op, victim) || fr_holders_ops(inode->i_fop, victim) ||
	       inode->i_sb->s_type->owner == victim ||
	       (S_ISCHR(inode->i_mode) && inode->i_cdev && inode->i_cdev->owner == victim) ||
	       fr_holders_socket(inode, victim);
}

static int fr_holders_descriptor(const void *data, struct file *file, unsigned int fd)
{
	struct fr_holders *holders = (struct fr_holders *)data;
	char buffer[64];
	char *path;

	if (!fr_holders_file(file, holders->victim))
		return 0;

	path = file_path(file, buffer, sizeof(buffer));
	pr_err("held by: pid %d, %s, descriptor %u, %s\n", task_pid_nr(holders->task),
	       holders->task->comm, fd, IS_ERR(path) ? "(long path)" : path);
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

static void fr_holders_mapping(struct fr_holders *holders, const struct vm_area_struct *vma)
{
	if (!fr_victim_has(holders->victim, vma->vm_ops) &&
	    !(vma->vm_file && fr_holders_file(vma->vm_file, holders->victim)))
		return;

	pr_err("held by: pid %d, %s, mapping at 0x%lx\n", task_pid_nr(holders->task),
	       holders->task->comm, vma->vm_start);
	holders->count++;
}

static bool fr_holders_mm(struct fr_holders *holders, struct mm_struct *mm)
{
	struct vm_area_struct *vma;

	if (!mmap_read_trylock(mm))
		return false;

	compat_for_each_vma(mm, vma)
		fr_holders_mapping(holders, vma);

	mmap_read_unlock(mm);
	return true;
}

/* The memory of the n-th process, or NULL; ended says that there is no n-th. */
static struct mm_struct *fr_holders_nth(struct fr_holders *holders, int n, bool *ended)
{
	struct mm_struct *mm = NULL;
	struct task_struct *process;

	*ended = true;
	rcu_read_lock();
	for_each_process(process) {
		if (n--)
			continue;
		*ended = false;
		holders->task = process;
		get_task_struct(process);
		mm = get_task_mm(process);
		break;
	}
	rcu_read_unlock();

	return mm;
}

static void fr_holders_mappings(struct fr_holders *holders)
{
	struct mm_struct *mm;
	bool ended;
	int n;

	for (n = 0;; n++) {
		mm = fr_holders_nth(holders, n, &ended);
		if (ended)
			return;
		if (mm) {
			if (!fr_holders_mm(holders, mm))
				pr_warn("mappings of pid %d cannot be looked at now\n",
					task_pid_nr(holders->task));
			mmput(mm);
		}
		put_task_struct(holders->task);
	}
}

int fr_holders_check(struct module *victim)
{
	struct fr_holders holders = { .victim = victim };

	fr_holders_files(&holders);
	fr_holders_mappings(&holders);
	if (!holders.count)
		return 0;

	pr_err("refused: %s is in use\n", victim->name);
	return -EBUSY;
}
