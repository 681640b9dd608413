// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe.c - a platform driver whose probe dies
 *
 * Called from the registration of the driver (probe), of the device
 * (probe_attach), or later, by a worker (probe_async). The dead task leaves the
 * device's lock taken, the device half bound, and probes counted as running.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/platform_device.h>

#include "faults.h"

#define FA_PROBE_NAME "faults_probe"

static struct platform_device *fa_probe_device;

static int fa_probe(struct platform_device *pdev)
{
	/* Something for devres, which the rescue should give back. */
	if (!devm_kzalloc(&pdev->dev, 64, GFP_KERNEL))
		return -ENOMEM;

	if (fa_fault)
		fa_die_null();

	return 0;
}

static struct platform_driver fa_probe_driver = {
	.probe = fa_probe,
	.driver = { .name = FA_PROBE_NAME },
};

static int fa_probe_add_device(void)
{
	fa_probe_device = platform_device_register_simple(FA_PROBE_NAME, PLATFORM_DEVID_NONE,
							  NULL, 0);
	return PTR_ERR_OR_ZERO(fa_probe_device);
}

int fa_probe_start(void)
{
	int ret;

	ret = fa_probe_add_device();
	if (ret)
		return ret;

	ret = platform_driver_register(&fa_probe_driver);
	if (ret)
		platform_device_unregister(fa_probe_device);

	return ret;
}

void fa_probe_stop(void)
{
	platform_driver_unregister(&fa_probe_driver);
	platform_device_unregister(fa_probe_device);
}

int fa_probe_attach_start(void)
{
	int ret;

	ret = platform_driver_register(&fa_probe_driver);
	if (ret)
		return ret;

	ret = fa_probe_add_device();
	if (ret)
		platform_driver_unregister(&fa_probe_driver);

	return ret;
}

void fa_probe_attach_stop(void)
{
	fa_probe_stop();
}

/* The misc device lets somebody hold the module while the probe is dead. */
int fa_probe_async_start(void)
{
	int ret;

	ret = fa_misc_start();
	if (ret)
		return ret;

	fa_probe_driver.driver.probe_type = PROBE_PREFER_ASYNCHRONOUS;
	ret = fa_probe_start();
	if (ret)
		fa_misc_stop();

	return ret;
}

void fa_probe_async_stop(void)
{
	fa_probe_stop();
	fa_misc_stop();
}
