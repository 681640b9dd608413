// SPDX-License-Identifier: MIT
/*
 * leaves - a module whose exit forgets the things of the parameter `things`, names of rows with commas between,
 * unless tidy=1; or that miscounts references
 */
#include <linux/cdev.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/blkdev.h>
#include <linux/kobject.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static char *things = "";
module_param(things, charp, 0444);
static bool tidy;
module_param(tidy, bool, 0444);

#define FAR (3600 * HZ)
static void *made; /* what start of a row has made, for its stop */

static int sleeper(void *unused)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(FAR);
	return 0;
}

static int thread_start(void)
{
	made = kthread_run(sleeper, NULL, "leaves_thread");
	return PTR_ERR_OR_ZERO(made);
}

static void thread_stop(void)
{
	kthread_stop(made);
}

static void late(struct work_struct *work)
{
}

static DECLARE_DELAYED_WORK(static_work, late);

static int work_start(void)
{
	schedule_delayed_work(&static_work, FAR);
	return 0;
}

static void work_stop(void)
{
	cancel_delayed_work_sync(&static_work);
}

static void sleep_in_work(struct work_struct *work)
{
	msleep(1500);
	pr_debug("slept\n"); /* else the call would be a jump, and we no longer on the stack */
}

static DECLARE_WORK(running_work, sleep_in_work);

static int running_start(void)
{
	schedule_work(&running_work);
	return 0;
}

static void running_stop(void)
{
	flush_work(&running_work);
}

static void too_late(struct timer_list *timer)
{
}

static DEFINE_TIMER(static_timer, too_late);

static int timer_start(void)
{
	mod_timer(&static_timer, jiffies + FAR);
	return 0;
}

static void timer_stop(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	timer_delete_sync(&static_timer);
#else
	del_timer_sync(&static_timer);
#endif
}

static enum hrtimer_restart exact(struct hrtimer *timer)
{
	return HRTIMER_NORESTART;
}

static struct hrtimer exact_timer;

static int hrtimer_begin(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(&exact_timer, exact, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&exact_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	exact_timer.function = exact;
#endif
	hrtimer_start(&exact_timer, ktime_set(3600, 0), HRTIMER_MODE_REL);
	return 0;
}

static void hrtimer_end(void)
{
	hrtimer_cancel(&exact_timer);
}

static int workqueue_start(void)
{
	made = alloc_workqueue("leaves_queue", WQ_UNBOUND, 0);
	return made ? 0 : -ENOMEM;
}

static int rescued_start(void)
{
	made = alloc_workqueue("leaves_rescued", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return made ? 0 : -ENOMEM;
}

static void workqueue_stop(void)
{
	destroy_workqueue(made);
}

static int vmalloc_start(void)
{
	made = vmalloc(1 << 20);
	return made ? 0 : -ENOMEM;
}

static void vmalloc_stop(void)
{
	vfree(made);
}

static int kmalloc_start(void)
{
	made = kmalloc(1 << 20, GFP_KERNEL);
	return made ? 0 : -ENOMEM;
}

static void kmalloc_stop(void)
{
	kfree(made);
}

static int pages_start(void)
{
	made = (void *)__get_free_pages(GFP_KERNEL, 8);
	return made ? 0 : -ENOMEM;
}

static void pages_stop(void)
{
	free_pages((unsigned long)made, 8);
}

static int debugfs_start(void)
{
	made = debugfs_create_dir("leaves_debug", NULL);
	debugfs_create_u32("value", 0444, made, &(u32){ 0 });
	return 0;
}

static void debugfs_stop(void)
{
	debugfs_remove(made);
}

static dev_t numbers;
static int block_major;

static int chrdev_start(void)
{
	return alloc_chrdev_region(&numbers, 0, 1, "leaves_chrdev");
}

static void chrdev_stop(void)
{
	unregister_chrdev_region(numbers, 1);
}

static int blkdev_start(void)
{
	block_major = register_blkdev(0, "leaves_blkdev");
	return block_major < 0 ? block_major : 0;
}

static void blkdev_stop(void)
{
	unregister_blkdev(block_major, "leaves_blkdev");
}

static int make_class(const char *name)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	made = class_create(name);
#else
	made = class_create(THIS_MODULE, name);
#endif
	return PTR_ERR_OR_ZERO(made);
}

static int class_start(void)
{
	return make_class("leaves_class");
}

static void class_stop(void)
{
	class_destroy(made);
}

static int node_start(void)
{
	int ret = make_class("leaves_nodes");

	if (!ret)
		ret = PTR_ERR_OR_ZERO(device_create(made, NULL, MKDEV(240, 7), NULL, "leaves_node"));
	return ret;
}

static void node_stop(void)
{
	device_destroy(made, MKDEV(240, 7));
	class_stop();
}

static int kobject_start(void)
{
	made = kobject_create_and_add("leaves_kobject", kernel_kobj);
	return made ? 0 : -ENOMEM;
}

static void kobject_stop(void)
{
	kobject_put(made);
}

static int proc_start(void)
{
	made = proc_mkdir("leaves_proc", NULL);
	return made ? 0 : -ENOMEM;
}

static void proc_stop(void)
{
	proc_remove(made);
}

static int sysctl_value;
static struct ctl_table table[2] = { { .procname = "leaves_sysctl", .data = &sysctl_value, .maxlen = sizeof(int), .mode = 0444,
					.proc_handler = proc_dointvec } };

static int sysctl_start(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	made = register_sysctl_sz("kernel", table, 1);
#else
	made = register_sysctl("kernel", table);
#endif
	return made ? 0 : -ENOMEM;
}

static void sysctl_stop(void)
{
	unregister_sysctl_table(made);
}

static const struct file_operations fops = { .owner = THIS_MODULE };
static struct miscdevice misc = { .minor = MISC_DYNAMIC_MINOR, .name = "leaves_misc", .fops = &fops };

static int misc_start(void)
{
	return misc_register(&misc);
}

static void misc_stop(void)
{
	misc_deregister(&misc);
}

static netdev_tx_t drop(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops ops = { .ndo_start_xmit = drop };

static void setup(struct net_device *dev)
{
	dev->netdev_ops = &ops;
}

static int netdev_start(void)
{
	made = alloc_netdev(0, "leaves%d", NET_NAME_UNKNOWN, setup);
	return made ? register_netdev(made) : -ENOMEM;
}

static void netdev_stop(void)
{
	unregister_netdev(made);
	free_netdev(made);
}

static irqreturn_t quiet(int irq, void *data)
{
	return IRQ_NONE;
}

static int irq_start(void)
{
	return request_irq(5, quiet, 0, "leaves_irq", NULL);
}

static void irq_stop(void)
{
	free_irq(5, NULL);
}

static int ioports_start(void)
{
	return request_region(0x5f0, 8, "leaves_ports") ? 0 : -EBUSY;
}

static void ioports_stop(void)
{
	release_region(0x5f0, 8);
}

static int iomem_start(void)
{
	return request_mem_region(0xfe000000, 0x1000, kstrdup("leaves_iomem", GFP_KERNEL)) ? 0 : -EBUSY;
}

static void iomem_stop(void)
{
	release_mem_region(0xfe000000, 0x1000);
}

static int cache_start(void)
{
	made = kmem_cache_create("leaves_cache", 1111, 0, 0, NULL);
	return made ? 0 : -ENOMEM;
}

static int merged_start(void)
{
	made = kmem_cache_create("leaves_merged", 64, 0, 0, NULL);
	return made ? 0 : -ENOMEM;
}

static void cache_stop(void)
{
	kmem_cache_destroy(made);
}

static int input_start(void)
{
	struct input_dev *dev = made = input_allocate_device();

	if (!dev)
		return -ENOMEM;
	dev->name = "leaves";
	input_set_capability(dev, EV_KEY, KEY_A);
	return input_register_device(dev);
}

static void input_stop(void)
{
	input_unregister_device(made);
}

static int platform_start(void)
{
	made = platform_device_register_simple("leaves_platform", -1, NULL, 0);
	return PTR_ERR_OR_ZERO(made);
}

static void platform_stop(void)
{
	platform_device_unregister(made);
}

static int get_start(void)
{
	__module_get(THIS_MODULE);
	return 0;
}

static void nothing(void)
{
}

static int put_start(void)
{
	module_put(THIS_MODULE);
	return 0;
}

static int other_start(void)
{
	made = get_fs_type("squashfs");
	return made ? 0 : -ENOENT;
}

static const struct file_operations unowned_fops = {};
static struct miscdevice unowned = { .minor = MISC_DYNAMIC_MINOR, .name = "leaves_unowned", .fops = &unowned_fops };

static int unowned_start(void)
{
	return misc_register(&unowned);
}

static void unowned_stop(void)
{
	misc_deregister(&unowned);
}

#define ROW(name) { #name, name##_start, name##_stop }

static struct row {
	const char *name;
	int (*start)(void);
	void (*stop)(void);
	void *made;
	bool started;
} rows[] = {
	{ "hrtimer", hrtimer_begin, hrtimer_end },
	{ "rescued", rescued_start, workqueue_stop },
	{ "get", get_start, nothing },
	{ "put", put_start, nothing },
	{ "other", other_start, nothing },
	ROW(unowned),
	{ "merged", merged_start, cache_stop },
	ROW(thread), ROW(work), ROW(running), ROW(timer), ROW(workqueue), ROW(vmalloc), ROW(kmalloc), ROW(pages),
	ROW(debugfs), ROW(chrdev), ROW(blkdev), ROW(class), ROW(node), ROW(kobject), ROW(proc), ROW(sysctl), ROW(misc),
	ROW(netdev), ROW(irq), ROW(ioports), ROW(iomem), ROW(cache), ROW(input), ROW(platform),
};

static bool is_wanted(const char *name)
{
	const char *at = strstr(things, name);
	size_t length = strlen(name);

	return at && (at == things || at[-1] == ',') && (!at[length] || at[length] == ',');
}

static int __init leaves_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		int ret = is_wanted(rows[i].name) ? rows[i].start() : 0;

		if (ret)
			return ret;
		rows[i].started = is_wanted(rows[i].name);
		rows[i].made = made;
	}
	return 0;
}

static void __exit leaves_exit(void)
{
	size_t i;

	for (i = 0; tidy && i < ARRAY_SIZE(rows); i++) {
		made = rows[i].made;
		if (rows[i].started)
			rows[i].stop();
	}
}

module_init(leaves_init);
module_exit(leaves_exit);
MODULE_DESCRIPTION("Forgets one thing");
MODULE_LICENSE("GPL");
