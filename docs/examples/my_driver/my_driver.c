// SPDX-License-Identifier: MIT
/* The driver of the README: a platform device that makes itself known. Parameter: debug. */
#include <linux/module.h>
#include <linux/platform_device.h>

struct my_data {
	int channels;
};

static bool debug;
module_param(debug, bool, 0444);

static struct platform_device *my_device;

static int my_probe(struct platform_device *pdev)
{
	struct my_data *data = dev_get_platdata(&pdev->dev);

	dev_info(&pdev->dev, "probed, %d channels\n", data->channels);
	return 0;
}

static struct platform_driver my_driver = {
	.probe = my_probe,
	.driver = {
		.name = "my_driver",
	},
};

static int __init my_init(void)
{
	struct my_data data = { .channels = 2 };
	int error = platform_driver_register(&my_driver);

	if (error)
		return error;
	my_device = platform_device_register_data(NULL, "my_driver", PLATFORM_DEVID_NONE, &data, sizeof(data));
	if (IS_ERR(my_device))
		platform_driver_unregister(&my_driver);
	return PTR_ERR_OR_ZERO(my_device);
}
module_init(my_init);

static void __exit my_exit(void)
{
	platform_device_unregister(my_device);
	platform_driver_unregister(&my_driver);
}
module_exit(my_exit);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("The driver of the README");
