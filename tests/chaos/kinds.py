# SPDX-License-Identifier: MIT
"""What a random module may register: each kind a few lines of C, for every kernel from 5.10 on.

In the C text `$n` is the thing's own prefix and `$at` an expression for its object of type `type`, which may be
static, allocated, in an array or on a list: the generator decides. `start` returns 0 or an errno.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADERS = """
#include <linux/module.h>
#include <linux/version.h>
#include <linux/binfmts.h>
#include <linux/cdev.h>
#include <linux/cpuhotplug.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/etherdevice.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/inetdevice.h>
#include <linux/input.h>
#include <linux/interrupt.h>
#include <linux/key-type.h>
#include <linux/kobject.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/percpu.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/reboot.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/sysrq.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
"""


@dataclass(frozen=True)
class Kind:
    """One kind of thing; `type` is "" where the kernel makes the object and `$at` is a pointer that is kept."""

    name: str
    type: str
    code: str  # functions and variables before start
    start: str
    stop: str
    keeps: str = ""  # type of what start must remember where the kernel makes the object
    fixed: bool = False  # of the kinds whose name or number is taken while a retired module keeps it


TIMER_STOP = """
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
timer_delete_sync($at);
#else
del_timer_sync($at);
#endif
"""

KINDS = (
    Kind(
        "timer",
        "struct timer_list",
        "static void ${n}_fires(struct timer_list *t) { mod_timer(t, jiffies + HZ / 7); }",
        "timer_setup($at, ${n}_fires, 0); mod_timer($at, jiffies + HZ / 7); return 0;",
        TIMER_STOP,
    ),
    Kind(
        "late_timer",
        "struct timer_list",
        "static void ${n}_fires(struct timer_list *t) { }",
        "timer_setup($at, ${n}_fires, 0); mod_timer($at, jiffies + 3600 * HZ); return 0;",
        TIMER_STOP,
    ),
    Kind(
        "work",
        "struct delayed_work",
        "static void ${n}_runs(struct work_struct *w) { schedule_delayed_work(to_delayed_work(w), HZ / 5); }",
        "INIT_DELAYED_WORK($at, ${n}_runs); schedule_delayed_work($at, HZ / 5); return 0;",
        "cancel_delayed_work_sync($at);",
    ),
    Kind(
        "hrtimer",
        "struct hrtimer",
        """static enum hrtimer_restart ${n}_fires(struct hrtimer *t)
{ hrtimer_forward_now(t, ms_to_ktime(100)); return HRTIMER_RESTART; }""",
        """
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
hrtimer_setup($at, ${n}_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
hrtimer_init($at, CLOCK_MONOTONIC, HRTIMER_MODE_REL); $at->function = ${n}_fires;
#endif
hrtimer_start($at, ms_to_ktime(100), HRTIMER_MODE_REL); return 0;""",
        "hrtimer_cancel($at);",
    ),
    Kind(
        "tasklet",
        "struct tasklet_struct",
        "static void ${n}_runs(struct tasklet_struct *t) { }",
        "tasklet_setup($at, ${n}_runs); tasklet_schedule($at); return 0;",
        "tasklet_kill($at);",
    ),
    Kind(
        "rcu",
        "struct rcu_head",
        """static bool ${n}_ends; static void ${n}_called(struct rcu_head *head)
{ if (!READ_ONCE(${n}_ends)) call_rcu(head, ${n}_called); }""",
        "WRITE_ONCE(${n}_ends, false); call_rcu($at, ${n}_called); return 0;",
        "WRITE_ONCE(${n}_ends, true); rcu_barrier(); rcu_barrier();",
    ),
    Kind(
        "thread",
        "",
        """static int ${n}_runs(void *data)
{ while (!kthread_should_stop()) msleep_interruptible(50); return 0; }""",
        """$at = kthread_run(${n}_runs, NULL, "${n}"); return PTR_ERR_OR_ZERO($at);""",
        "kthread_stop($at);",
        keeps="struct task_struct",
    ),
    Kind(
        "queue",
        "",
        "",
        """$at = alloc_workqueue("${n}", 0, 0); return $at ? 0 : -ENOMEM;""",
        "destroy_workqueue($at);",
        keeps="struct workqueue_struct",
    ),
    Kind(
        "misc",
        "struct miscdevice",
        """static ssize_t ${n}_read(struct file *f, char __user *b, size_t s, loff_t *o) { return 0; }
static const struct file_operations ${n}_fops = { .owner = THIS_MODULE, .read = ${n}_read };""",
        """$at->minor = MISC_DYNAMIC_MINOR; $at->name = "${n}"; $at->fops = &${n}_fops;
return misc_register($at);""",
        "misc_deregister($at);",
    ),
    Kind(
        "cdev",
        "struct cdev",
        """static dev_t ${n}_number;
static const struct file_operations ${n}_fops = { .owner = THIS_MODULE };""",
        """int ret = alloc_chrdev_region(&${n}_number, 0, 2, "${n}"); if (ret) return ret;
cdev_init($at, &${n}_fops); $at->owner = THIS_MODULE; return cdev_add($at, ${n}_number, 2);""",
        "cdev_del($at); unregister_chrdev_region(${n}_number, 2);",
    ),
    Kind(
        "class",
        "struct class",
        "static struct device *${n}_dev;",
        """int ret; $at->name = "${n}"; ret = class_register($at); if (ret) return ret;
${n}_dev = device_create($at, NULL, 0, NULL, "${n}_dev"); return PTR_ERR_OR_ZERO(${n}_dev);""",
        "device_unregister(${n}_dev); class_unregister($at);",
    ),
    Kind(
        "platform",
        "",
        "",
        """$at = platform_device_register_simple("${n}", -1, NULL, 0); return PTR_ERR_OR_ZERO($at);""",
        "platform_device_unregister($at);",
        keeps="struct platform_device",
    ),
    Kind(
        "driver",
        "struct platform_driver",
        "",
        """$at->driver.name = "${n}"; $at->driver.owner = THIS_MODULE; return platform_driver_register($at);""",
        "platform_driver_unregister($at);",
    ),
    Kind(
        "input",
        "",
        "",
        """$at = input_allocate_device(); if (!$at) return -ENOMEM; $at->name = "${n}";
set_bit(EV_KEY, $at->evbit); set_bit(KEY_A, $at->keybit); return input_register_device($at);""",
        "input_unregister_device($at);",
        keeps="struct input_dev",
    ),
    Kind(
        "netdev",
        "",
        """static netdev_tx_t ${n}_xmit(struct sk_buff *s, struct net_device *d) { dev_kfree_skb(s);
return NETDEV_TX_OK; }
static const struct net_device_ops ${n}_ops = { .ndo_start_xmit = ${n}_xmit };""",
        """$at = alloc_etherdev(0); if (!$at) return -ENOMEM; $at->netdev_ops = &${n}_ops;
eth_hw_addr_random($at); return register_netdev($at);""",
        "unregister_netdev($at); free_netdev($at);",
        keeps="struct net_device",
    ),
    Kind(
        "proc",
        "",
        """static int ${n}_show(struct seq_file *s, void *v) { seq_puts(s, "x"); return 0; }""",
        """$at = proc_create_single("${n}", 0444, NULL, ${n}_show); return $at ? 0 : -ENOMEM;""",
        "proc_remove($at);",
        keeps="struct proc_dir_entry",
    ),
    Kind(
        "debugfs",
        "",
        """static u32 ${n}_value;""",
        """$at = debugfs_create_dir("${n}", NULL); debugfs_create_u32("value", 0444, $at, &${n}_value);
return 0;""",
        "debugfs_remove_recursive($at);",
        keeps="struct dentry",
    ),
    Kind(
        "sysfs",
        "struct kobj_attribute",
        """static ssize_t ${n}_show(struct kobject *k, struct kobj_attribute *a, char *b)
{ return sprintf(b, "x"); }""",
        """sysfs_attr_init(&$at->attr); $at->attr.name = "${n}"; $at->attr.mode = 0444; $at->show = ${n}_show;
return sysfs_create_file(kernel_kobj, &$at->attr);""",
        "sysfs_remove_file(kernel_kobj, &$at->attr);",
    ),
    Kind(
        "kobject",
        "",
        "",
        """$at = kobject_create_and_add("${n}", kernel_kobj); return $at ? 0 : -ENOMEM;""",
        "kobject_put($at);",
        keeps="struct kobject",
    ),
    Kind(
        "reboot_notifier",
        "struct notifier_block",
        "static int ${n}_called(struct notifier_block *b, unsigned long e, void *d) { return NOTIFY_DONE; }",
        "$at->notifier_call = ${n}_called; return register_reboot_notifier($at);",
        "unregister_reboot_notifier($at);",
    ),
    Kind(
        "inetaddr_notifier",
        "struct notifier_block",
        "static int ${n}_called(struct notifier_block *b, unsigned long e, void *d) { return NOTIFY_DONE; }",
        "$at->notifier_call = ${n}_called; return register_inetaddr_notifier($at);",
        "unregister_inetaddr_notifier($at);",
    ),
    Kind(
        "module_notifier",
        "struct notifier_block",
        "static int ${n}_called(struct notifier_block *b, unsigned long e, void *d) { return NOTIFY_DONE; }",
        "$at->notifier_call = ${n}_called; return register_module_notifier($at);",
        "unregister_module_notifier($at);",
    ),
    Kind(
        "restart_handler",
        "struct notifier_block",
        "static int ${n}_called(struct notifier_block *b, unsigned long e, void *d) { return NOTIFY_DONE; }",
        "$at->notifier_call = ${n}_called; return register_restart_handler($at);",
        "unregister_restart_handler($at);",
    ),
    Kind(
        "kprobe",
        "struct kprobe",
        "static int ${n}_hit(struct kprobe *p, struct pt_regs *r) { return 0; }",
        """$at->symbol_name = "vfs_statfs"; $at->pre_handler = ${n}_hit; return register_kprobe($at);""",
        "unregister_kprobe($at);",
    ),
    Kind(
        "cache",
        "",
        "",
        """$at = kmem_cache_create("${n}", 4000, 0, 0, NULL); return $at ? 0 : -ENOMEM;""",
        "kmem_cache_destroy($at);",
        keeps="struct kmem_cache",
    ),
    Kind(
        "packet",
        "struct packet_type",
        """static int ${n}_got(struct sk_buff *s, struct net_device *d, struct packet_type *p,
struct net_device *o)
{ kfree_skb(s); return 0; }""",
        "$at->type = htons(ETH_P_IP); $at->func = ${n}_got; dev_add_pack($at); return 0;",
        "dev_remove_pack($at);",
    ),
    Kind(
        "netfilter",
        "struct nf_hook_ops",
        """static unsigned int ${n}_hook(void *p, struct sk_buff *s, const struct nf_hook_state *state)
{ return NF_ACCEPT; }""",
        """$at->hook = ${n}_hook; $at->pf = NFPROTO_IPV4; $at->hooknum = NF_INET_LOCAL_IN;
return nf_register_net_hook(&init_net, $at);""",
        "nf_unregister_net_hook(&init_net, $at);",
    ),
    Kind(
        "genl",
        "struct genl_family",
        "",
        """strscpy($at->name, "${n}", sizeof($at->name)); $at->version = 1; $at->module = THIS_MODULE;
return genl_register_family($at);""",
        "genl_unregister_family($at);",
        fixed=True,
    ),
    Kind(
        "pernet",
        "struct pernet_operations",
        "static int ${n}_init(struct net *net) { return 0; }",
        "$at->init = ${n}_init; return register_pernet_subsys($at);",
        "unregister_pernet_subsys($at);",
    ),
    Kind(
        "binfmt",
        "struct linux_binfmt",
        "static int ${n}_load(struct linux_binprm *b) { return -ENOEXEC; }",
        "$at->module = THIS_MODULE; $at->load_binary = ${n}_load; register_binfmt($at); return 0;",
        "unregister_binfmt($at);",
    ),
    Kind(
        "key_type",
        "struct key_type",
        "",
        """$at->name = "${n}"; return register_key_type($at);""",
        "unregister_key_type($at);",
        fixed=True,
    ),
    Kind(
        "cpuhp",
        "",
        "static int ${n}_state; static int ${n}_up(unsigned int cpu) { return 0; }",
        """${n}_state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "${n}", ${n}_up, NULL);
return ${n}_state < 0 ? ${n}_state : 0;""",
        "cpuhp_remove_state(${n}_state);",
        fixed=True,
    ),
    Kind(
        "filesystem",
        "struct file_system_type",
        "",
        """$at->name = "${n}"; $at->owner = THIS_MODULE; return register_filesystem($at);""",
        "unregister_filesystem($at);",
        fixed=True,
    ),
    Kind(
        "leak",
        "",
        "static void ${n}_code(void) { }",
        """unsigned long *p = kzalloc(${size}, GFP_KERNEL); if (!p) return -ENOMEM;
p[0] = (unsigned long)${n}_code; p[${size} / 8 - 1] = (unsigned long)p; return 0;""",
        "",
    ),
    Kind(
        "vleak",
        "",
        "static int ${n}_data;",
        """void **p = vzalloc(${size} * 64); if (!p) return -ENOMEM; p[3] = &${n}_data; return 0;""",
        "",
    ),
    Kind(
        "pleak",
        "",
        "static int ${n}_data;",
        """void **p = (void **)get_zeroed_page(GFP_KERNEL); if (!p) return -ENOMEM; p[9] = &${n}_data;
return 0;""",
        "",
    ),
)
