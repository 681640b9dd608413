// SPDX-License-Identifier: GPL-2.0-only
/*
 * vms - a virtual mouse, moved by writing to a file
 *
 *	insmod vms.ko
 *	echo "5 -3" > /sys/devices/platform/vms/coordinates
 *	rmmod vms
 *
 * While it is loaded there are a platform device "vms" with the write-only
 * attribute "coordinates", and an input device named "Vms test". "x y" written
 * to the attribute (two decimal integers, nothing else, otherwise EINVAL)
 * arrives as REL_X, REL_Y and a sync, for example on /dev/input/event*.
 *
 *	insmod vms.ko fault=1
 *
 * dies on purpose: init writes the name through the input device's name
 * pointer while that is still NULL, and the log shows an oops in vms_init.
 * The platform device and its attribute stay behind, the input device is
 * allocated and never registered, and the module stays in state "Loading"
 * (lsmod: used by 1), so that rmmod says "busy".
 *
 * The log shows "loaded" and "unloaded", or "fault=1: ..." before the oops.
 */
#include <linux/init.h>
#include <linux/input.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#define VMS_NAME "Vms test"

static bool vms_fault;
module_param_named(fault, vms_fault, bool, 0444);
MODULE_PARM_DESC(fault, "oops in init, with the platform device already there (default: off)");

static struct platform_device *vms_dev;
static struct input_dev *vms_input_dev;

static int vms_parse(const char *buf, size_t count, int *x, int *y)
{
	char words[32];
	char *first, *rest;

	/* A NUL in the middle would hide what follows it. */
	if (strlen(buf) != count || strscpy(words, buf, sizeof(words)) < 0)
		return -EINVAL;

	rest = strim(words);
	first = strsep(&rest, " ");
	if (!rest)
		return -EINVAL;

	/* Not sscanf(): it lets numbers overflow and stops at the first excess. */
	if (kstrtoint(first, 10, x) || kstrtoint(skip_spaces(rest), 10, y))
		return -EINVAL;

	return 0;
}

static ssize_t coordinates_store(struct device *dev, struct device_attribute *attr,
				 const char *buf, size_t count)
{
	int x, y, ret;

	ret = vms_parse(buf, count, &x, &y);
	if (ret)
		return ret;

	input_report_rel(vms_input_dev, REL_X, x);
	input_report_rel(vms_input_dev, REL_Y, y);
	input_sync(vms_input_dev);

	return count;
}

static DEVICE_ATTR_WO(coordinates);

static struct attribute *vms_attrs[] = {
	&dev_attr_coordinates.attr,
	NULL
};

static const struct attribute_group vms_group = {
	.attrs = vms_attrs,
};

/*
 * The volatile read keeps the compiler from knowing that the pointer is NULL:
 * it would be free to drop the store as undefined.
 */
static void vms_write_name(struct input_dev *input)
{
	char *name = (char *)READ_ONCE(input->name);

	memcpy(name, VMS_NAME, sizeof(VMS_NAME));
}

static int __init vms_init(void)
{
	int ret;

	vms_dev = platform_device_register_simple("vms", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(vms_dev)) {
		ret = PTR_ERR(vms_dev);
		pr_err("cannot register the platform device: %d\n", ret);
		goto err_register_device;
	}

	vms_input_dev = input_allocate_device();
	if (!vms_input_dev) {
		ret = -ENOMEM;
		goto err_allocate_input;
	}

	/* After the allocation, so that no writer ever finds a NULL device. */
	ret = sysfs_create_group(&vms_dev->dev.kobj, &vms_group);
	if (ret) {
		pr_err("cannot create the attribute: %d\n", ret);
		goto err_create_group;
	}

	if (vms_fault) {
		pr_info("fault=1: writing the name through a NULL pointer\n");
		vms_write_name(vms_input_dev);
	}

	vms_input_dev->name = VMS_NAME;
	vms_input_dev->id.bustype = BUS_VIRTUAL;
	vms_input_dev->dev.parent = &vms_dev->dev;
	input_set_capability(vms_input_dev, EV_REL, REL_X);
	input_set_capability(vms_input_dev, EV_REL, REL_Y);

	ret = input_register_device(vms_input_dev);
	if (ret) {
		pr_err("cannot register the input device: %d\n", ret);
		goto err_register_input;
	}

	pr_info("loaded\n");
	return 0;

err_register_input:
	sysfs_remove_group(&vms_dev->dev.kobj, &vms_group);
err_create_group:
	input_free_device(vms_input_dev);
err_allocate_input:
	platform_device_unregister(vms_dev);
err_register_device:
	return ret;
}

static void __exit vms_exit(void)
{
	/* Waits for writers, so none can meet an input device that is gone. */
	sysfs_remove_group(&vms_dev->dev.kobj, &vms_group);
	input_unregister_device(vms_input_dev);
	platform_device_unregister(vms_dev);
	pr_info("unloaded\n");
}

module_init(vms_init);
module_exit(vms_exit);

MODULE_DESCRIPTION("Virtual mouse, with an oops in init on demand");
MODULE_LICENSE("GPL");
