// SPDX-License-Identifier: GPL-2.0-only
/* device.c - things of the driver model, and character devices */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "faults.h"

static struct platform_device *fa_pdev;

int fa_platform_device_start(void)
{
	fa_pdev = platform_device_register_simple("faults_device", PLATFORM_DEVID_NONE, NULL, 0);
	return PTR_ERR_OR_ZERO(fa_pdev);
}

void fa_platform_device_stop(void)
{
	platform_device_unregister(fa_pdev);
}

static void fa_platform_static_release(struct device *dev)
{
}

static struct platform_device fa_static_pdev = {
	.name = "faults_static",
	.id = PLATFORM_DEVID_NONE,
	.dev = { .release = fa_platform_static_release },
};

int fa_platform_static_start(void)
{
	return platform_device_register(&fa_static_pdev);
}

void fa_platform_static_stop(void)
{
	platform_device_unregister(&fa_static_pdev);
}

static int fa_driver_probe(struct platform_device *pdev)
{
	return 0;
}

static struct platform_driver fa_driver = {
	.probe = fa_driver_probe,
	.driver = { .name = "faults_driver" },
};

/* With a device that is bound to it. */
int fa_platform_driver_start(void)
{
	int ret;

	fa_pdev = platform_device_register_simple("faults_driver", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(fa_pdev))
		return PTR_ERR(fa_pdev);

	ret = platform_driver_register(&fa_driver);
	if (ret)
		platform_device_unregister(fa_pdev);

	return ret;
}

void fa_platform_driver_stop(void)
{
	platform_driver_unregister(&fa_driver);
	platform_device_unregister(fa_pdev);
}

static struct input_dev *fa_input_dev;

int fa_input_allocated_start(void)
{
	fa_input_dev = input_allocate_device();
	if (!fa_input_dev)
		return -ENOMEM;

	fa_input_dev->name = "faults input";
	input_set_capability(fa_input_dev, EV_REL, REL_X);
	return 0;
}

void fa_input_allocated_stop(void)
{
	input_free_device(fa_input_dev);
}

int fa_input_start(void)
{
	int ret;

	ret = fa_input_allocated_start();
	if (ret)
		return ret;

	ret = input_register_device(fa_input_dev);
	if (ret)
		input_free_device(fa_input_dev);

	return ret;
}

void fa_input_stop(void)
{
	input_unregister_device(fa_input_dev);
}

static vm_fault_t fa_vm_fault(struct vm_fault *fault)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct fa_vm_ops = {
	.fault = fa_vm_fault,
};

/* There is nothing to be read in it, but it can be mapped. */
static int fa_mmap(struct file *file, struct vm_area_struct *area)
{
	area->vm_ops = &fa_vm_ops;
	return 0;
}

static const struct file_operations fa_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.mmap = fa_mmap,
};

static struct miscdevice fa_miscdev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "faults_misc",
	.fops = &fa_fops,
};

int fa_misc_start(void)
{
	return misc_register(&fa_miscdev);
}

void fa_misc_stop(void)
{
	misc_deregister(&fa_miscdev);
}

static dev_t fa_chrdev;
static struct cdev fa_cdev;

int fa_chrdev_start(void)
{
	int ret;

	ret = alloc_chrdev_region(&fa_chrdev, 0, 2, "faults_chrdev");
	if (ret)
		return ret;

	cdev_init(&fa_cdev, &fa_fops);
	fa_cdev.owner = THIS_MODULE;
	ret = cdev_add(&fa_cdev, fa_chrdev, 2);
	if (ret)
		unregister_chrdev_region(fa_chrdev, 2);

	return ret;
}

void fa_chrdev_stop(void)
{
	cdev_del(&fa_cdev);
	unregister_chrdev_region(fa_chrdev, 2);
}

static struct class fa_class = {
	.name = "faults_class",
};

static struct device *fa_class_device;

int fa_class_start(void)
{
	int ret;

	ret = class_register(&fa_class);
	if (ret)
		return ret;

	fa_class_device = device_create(&fa_class, NULL, 0, NULL, "faults_class_device");
	if (IS_ERR(fa_class_device)) {
		class_unregister(&fa_class);
		return PTR_ERR(fa_class_device);
	}

	return 0;
}

void fa_class_stop(void)
{
	device_unregister(fa_class_device);
	class_unregister(&fa_class);
}
