// SPDX-License-Identifier: GPL-2.0-only
/*
 * remove.c - keeps a driver's remove from being called
 *
 * As a driver whose module never became live is not to be trusted with that. On a bus
 * that is not in the table below it cannot be kept from it.
 */
#include <linux/device.h>
#include <linux/i2c.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/spi/spi.h>
#include <linux/string.h>

#include "undo/undo.h"
#include "victim/victim.h"

/* Buses whose drivers need no remove, and where they have it: so far from the driver. */
#define FR_BUS(bus, type, removes) { \
	.name = bus, \
	.remove = (long)offsetof(struct type, remove) - (long)offsetof(struct type, driver), \
	.count = removes, \
}

static const struct fr_bus {
	const char *name;
	long remove;
	size_t count;
} fr_buses[] = {
	FR_BUS("platform", platform_driver, COMPAT_PLATFORM_REMOVES),
	FR_BUS("pci", pci_driver, 1),
	FR_BUS("i2c", i2c_driver, 1),
	FR_BUS("spi", spi_driver, 1),
};

static void **fr_remove_find(const struct module *victim, struct device_driver *drv,
			       size_t *count)
{
	void *remove;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_buses); i++) {
		remove = (char *)drv + fr_buses[i].remove;
		*count = fr_buses[i].count;
		if (!strcmp(drv->bus->name, fr_buses[i].name))
			return fr_victim_has(victim, remove) ? remove : NULL;
	}

	return NULL;
}

bool fr_remove_silence(const struct module *victim, struct device_driver *drv,
		       struct fr_remove *saved)
{
	size_t i, count;
	void **remove = fr_remove_find(victim, drv, &count);

	for (i = 0; remove && i < count; i++) {
		saved->saved[i] = remove[i];
		remove[i] = NULL;
	}

	return remove;
}

void fr_remove_restore(const struct module *victim, struct device_driver *drv,
		       const struct fr_remove *saved)
{
	size_t i, count;
	void **remove = fr_remove_find(victim, drv, &count);

	for (i = 0; remove && i < count; i++)
		remove[i] = saved->saved[i];
}

bool fr_remove_is_known(const struct module *victim, struct device_driver *drv)
{
	size_t count;

	return fr_remove_find(victim, drv, &count);
}
