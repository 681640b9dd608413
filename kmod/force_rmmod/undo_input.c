// SPDX-License-Identifier: GPL-2.0-only
/*
 * undo_input.c - input devices, registered or only allocated
 *
 * One that was only allocated is in no list. A word of the victim's data is
 * taken for a pointer to one if there is a live, initialised device object of
 * class input where an input_dev has it. Freeing it also gives back the
 * reference to the input core that the allocation took.
 */
#include <linux/device.h>
#include <linux/input.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "force_rmmod.h"

struct fr_input_walk {
	bool apply;
	int count;
};

/*
 * All devices share one kobject type, which is not exported; platform_bus has it.
 * Only addresses that kmalloc() can return are read at all: on 5.10 even the
 * careful read warns about one that no pointer can have.
 */
static bool fr_input_is_device(const struct input_dev *input, struct kobject *kobj)
{
	const void *class;
	char name[6] = "";

	if (!IS_ALIGNED((unsigned long)input, sizeof(void *)) || !virt_addr_valid(input))
		return false;

	if (copy_from_kernel_nofault(&class, &input->dev.class, sizeof(class)) ||
	    class != &input_class ||
	    copy_from_kernel_nofault(kobj, &input->dev.kobj, sizeof(*kobj)))
		return false;

	if (kobj->ktype != platform_bus.kobj.ktype || !kobj->state_initialized ||
	    !kref_read(&kobj->kref))
		return false;

	return virt_addr_valid(kobj->name) &&
	       !copy_from_kernel_nofault(name, kobj->name, sizeof(name) - 1) &&
	       !strcmp(name, "input");
}

static int fr_input_match(struct device *dev, const void *data)
{
	return dev == data;
}

static bool fr_input_is_registered(struct input_dev *input)
{
	struct device *dev = class_find_device(&input_class, NULL, &input->dev, fr_input_match);

	put_device(dev);
	return dev;
}

/* Unregistering takes both, and would wait for a dead holder. */
static bool fr_input_is_locked(struct input_dev *input)
{
	if (!device_trylock(&input->dev))
		return true;
	device_unlock(&input->dev);

	if (!mutex_trylock(&input->mutex))
		return true;
	mutex_unlock(&input->mutex);

	return false;
}

/* The dead module's code is not to be trusted with closing a half-made device. */
static void fr_input_silence(struct input_dev *input, const struct module *victim)
{
	mutex_lock(&input->mutex);
	if (within_module((unsigned long)input->close, victim))
		input->close = NULL;
	if (within_module((unsigned long)input->flush, victim))
		input->flush = NULL;
	mutex_unlock(&input->mutex);
}

static int fr_input_undo(struct module *victim, unsigned long *word, struct fr_input_walk *walk,
			 struct input_dev *input, bool registered)
{
	const char *name = dev_name(&input->dev);

	if (fr_input_is_locked(input)) {
		pr_err("input device %s: its lock is taken\n", name);
		return -EBUSY;
	}

	walk->count++;
	if (!walk->apply)
		return 0;

	if (registered) {
		pr_info("undo: input device %s, registered, held by %ps\n", name, word);
		fr_input_silence(input, victim);
		input_unregister_device(input);
	} else {
		pr_info("undo: input device %s, never registered, held by %ps\n", name, word);
		input_free_device(input);
	}

	return 0;
}

static int fr_input_word(struct module *victim, unsigned long *word, void *data)
{
	struct fr_input_walk *walk = data;
	struct input_dev *input = (struct input_dev *)*word;
	struct kobject kobj;

	if (!fr_input_is_device(input, &kobj))
		return 0;

	/* Two pointers to one device must not free it twice. */
	if (fr_victim_holder(victim, *word) != word)
		return 0;

	if (!kobj.state_in_sysfs)
		return fr_input_undo(victim, word, walk, input, false);

	/* A registered one that is older than the victim is only borrowed. */
	if (fr_input_is_registered(input) && fr_victim_is_older(victim, &input->dev.kobj))
		return fr_input_undo(victim, word, walk, input, true);

	return 0;
}

int fr_undo_input(struct module *victim, bool apply)
{
	struct fr_input_walk walk = { .apply = apply };
	int ret;

	ret = fr_victim_each_word(victim, fr_input_word, &walk);
	return ret ? ret : walk.count;
}
