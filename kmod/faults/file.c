// SPDX-License-Identifier: GPL-2.0-only
/* file.c - files of /proc, /sys and debugfs, sysctl tables, file systems */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/sysctl.h>
#include <linux/sysfs.h>

#include <net/net_namespace.h>

#include "faults.h"

static struct proc_dir_entry *fa_proc_folder;

static int fa_proc_show(struct seq_file *file, void *data)
{
	seq_puts(file, "faults\n");
	return 0;
}

/* A folder with a file, and a file in a folder of the kernel. */
int fa_proc_start(void)
{
	fa_proc_folder = proc_mkdir("faults_proc", NULL);
	if (!fa_proc_folder)
		return -ENOMEM;

	if (!proc_create_single("inner", 0444, fa_proc_folder, fa_proc_show) ||
	    !proc_create_single("driver/faults_proc", 0444, NULL, fa_proc_show)) {
		proc_remove(fa_proc_folder);
		return -ENOMEM;
	}

	return 0;
}

void fa_proc_stop(void)
{
	remove_proc_entry("driver/faults_proc", NULL);
	proc_remove(fa_proc_folder);
}

static struct dentry *fa_debugfs_folder, *fa_debugfs_file;
static u32 fa_debugfs_value;

static int fa_debugfs_show(struct seq_file *file, void *data)
{
	seq_puts(file, "faults\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(fa_debugfs);

/* A folder with a file, and a file on its own. */
int fa_debugfs_start(void)
{
	fa_debugfs_folder = debugfs_create_dir("faults_debugfs", NULL);
	if (IS_ERR(fa_debugfs_folder))
		return PTR_ERR(fa_debugfs_folder);

	debugfs_create_u32("inner", 0444, fa_debugfs_folder, &fa_debugfs_value);
	fa_debugfs_file = debugfs_create_file("faults_debugfs_file", 0444, NULL, NULL,
					      &fa_debugfs_fops);
	return 0;
}

void fa_debugfs_stop(void)
{
	debugfs_remove(fa_debugfs_file);
	debugfs_remove(fa_debugfs_folder);
}

static ssize_t faults_attribute_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "faults\n");
}

static struct kobj_attribute fa_attribute = __ATTR_RO(faults_attribute);

static struct attribute *fa_attributes[] = {
	&fa_attribute.attr,
	NULL
};

static const struct attribute_group fa_group = {
	.name = "faults_group",
	.attrs = fa_attributes,
};

/* A group with a name, and a file, both in /sys/kernel. */
int fa_sysfs_start(void)
{
	int ret;

	ret = sysfs_create_group(kernel_kobj, &fa_group);
	if (ret)
		return ret;

	ret = sysfs_create_file(kernel_kobj, &fa_attribute.attr);
	if (ret)
		sysfs_remove_group(kernel_kobj, &fa_group);

	return ret;
}

void fa_sysfs_stop(void)
{
	sysfs_remove_file(kernel_kobj, &fa_attribute.attr);
	sysfs_remove_group(kernel_kobj, &fa_group);
}

static struct kobject *fa_kobject;

int fa_kobject_start(void)
{
	fa_kobject = kobject_create_and_add("faults_kobject", kernel_kobj);
	if (!fa_kobject)
		return -ENOMEM;

	return sysfs_create_group(fa_kobject, &fa_group);
}

void fa_kobject_stop(void)
{
	kobject_put(fa_kobject);
}

static int fa_sysctl_value;

#define FA_SYSCTL(name) { \
	{ \
		.procname = name, \
		.data = &fa_sysctl_value, \
		.maxlen = sizeof(fa_sysctl_value), \
		.mode = 0644, \
		.proc_handler = proc_dointvec, \
	}, \
	COMPAT_SYSCTL_END \
}

static struct ctl_table fa_sysctl_table[] = FA_SYSCTL("faults_sysctl");
static struct ctl_table fa_sysctl_net_table[] = FA_SYSCTL("faults_sysctl_net");

static struct ctl_table_header *fa_sysctl_header, *fa_sysctl_net_header;

/* One table of the kernel's, and one of the first network namespace. */
int fa_sysctl_start(void)
{
	fa_sysctl_header = register_sysctl("kernel", fa_sysctl_table);
	if (!fa_sysctl_header)
		return -ENOMEM;

	fa_sysctl_net_header = register_net_sysctl(&init_net, "net/core", fa_sysctl_net_table);
	if (!fa_sysctl_net_header) {
		unregister_sysctl_table(fa_sysctl_header);
		return -ENOMEM;
	}

	return 0;
}

void fa_sysctl_stop(void)
{
	unregister_net_sysctl_table(fa_sysctl_net_header);
	unregister_sysctl_table(fa_sysctl_header);
}

#define FA_MAGIC 0x66617574

/* An empty root folder. */
static int fa_filesystem_fill(struct super_block *sb, struct fs_context *context)
{
	struct inode *inode;

	sb->s_magic = FA_MAGIC;
	inode = new_inode(sb);
	if (!inode)
		return -ENOMEM;

	inode->i_ino = 1;
	inode->i_mode = S_IFDIR | 0755;
	inode->i_op = &simple_dir_inode_operations;
	inode->i_fop = &simple_dir_operations;
	set_nlink(inode, 2);
	sb->s_root = d_make_root(inode);
	return sb->s_root ? 0 : -ENOMEM;
}

static int fa_filesystem_get_tree(struct fs_context *context)
{
	return get_tree_nodev(context, fa_filesystem_fill);
}

static const struct fs_context_operations fa_filesystem_operations = {
	.get_tree = fa_filesystem_get_tree,
};

static int fa_filesystem_context(struct fs_context *context)
{
	context->ops = &fa_filesystem_operations;
	return 0;
}

static struct file_system_type fa_filesystem = {
	.owner = THIS_MODULE,
	.name = "faultsfs",
	.init_fs_context = fa_filesystem_context,
	.kill_sb = kill_anon_super,
};

int fa_filesystem_start(void)
{
	return register_filesystem(&fa_filesystem);
}

void fa_filesystem_stop(void)
{
	unregister_filesystem(&fa_filesystem);
}
