// SPDX-License-Identifier: GPL-2.0-only
/*
 * input.c - input devices, registered or only allocated
 *
 * One that was only allocated is in no list. A word of the victim's data is
 * taken for a pointer to one if there is a live, initialised device object of
 * class input where an input_dev has it, and nobody else holds it: an open one that
 * was unregistered is its programs'. Freeing it also gives back the reference to
 * the input core that the allocation took.
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

#include "kernel/kernel.h"
#include "undo/undo.h"
#include "victim/victim.h"

struct fr_input_walk {
	struct fr_rescue *rescue;
	struct fr_finds *finds;
};

/* ---- registered ---- */

static bool fr_input_is_foreign(const struct module *victim, const void *function)
{
	return function && !fr_victim_has(victim, function);
}

/* Whether somebody else's code serves it: then the victim only knows it. */
static bool fr_input_is_borrowed(const struct module *victim, const struct input_dev *input)
{
	return fr_input_is_foreign(victim, input->open) ||
	       fr_input_is_foreign(victim, input->close) ||
	       fr_input_is_foreign(victim, input->event);
}

static int fr_input_collect(struct device *dev, void *data)
{
	struct fr_input_walk *walk = data;
	const struct module *victim = walk->rescue->victim;
	struct input_dev *input = to_input_dev(dev);
	unsigned long *word;
	int ret;

	if (dev->class != &input_class || strncmp(dev_name(dev), "input", 5) ||
	    !fr_victim_precedes(victim, dev->kobj.sd))
		return 0;

	word = fr_words_find(walk->rescue, (unsigned long)input);
	if (word && !fr_words_serial(walk->rescue, input) && fr_input_is_borrowed(victim, input))
		word = NULL;
	if (!word && !fr_victim_has(victim, input->open) &&
	    !fr_victim_has(victim, input->close) &&
	    !fr_victim_has(victim, input->event) &&
	    !fr_victim_has(victim, input->name))
		return 0;

	ret = word ? fr_found(walk->finds, input, fr_devices_order(dev->kobj.sd),
			      "%s, kept in %ps", dev_name(dev), word) :
		     fr_found(walk->finds, input, fr_devices_order(dev->kobj.sd), "%s",
			      dev_name(dev));
	if (!ret)
		get_device(dev);

	return ret;
}

static int fr_input_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct fr_input_walk walk = { rescue, finds };

	return fr_devices_each(fr_input_collect, &walk);
}

/* The dead module's code is not to be trusted with closing a half-made device. */
static void fr_input_silence(struct input_dev *input, const struct module *victim)
{
	mutex_lock(&input->mutex);
	if (fr_victim_has(victim, input->close))
		input->close = NULL;
	if (fr_victim_has(victim, input->flush))
		input->flush = NULL;
	mutex_unlock(&input->mutex);
}

/* Unregistering takes both, and would wait for a dead owner. */
static int fr_input_check(struct fr_rescue *rescue, void *object)
{
	struct input_dev *input = object;
	int ret = fr_probe_check_lock(rescue->victim, &input->dev);

	if (!ret && !fr_tasks_can_lock(&input->mutex, dev_name(&input->dev)))
		ret = -EBUSY;

	return ret;
}

static int fr_input_undo(struct fr_rescue *rescue, void *object)
{
	struct input_dev *input = object;

	fr_input_silence(input, rescue->victim);
	input_unregister_device(input);
	return 0;
}

static void fr_input_put(void *object)
{
	struct input_dev *input = object;

	put_device(&input->dev);
}

const struct fr_kind fr_kind_input = {
	.name = "input device",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_input_find,
	.check = fr_input_check,
	.undo = fr_input_undo,
	.put = fr_input_put,
};

/* ---- only allocated ---- */

/*
 * All devices share one kobject type, which is not exported; platform_bus has it.
 * Only addresses that kmalloc() can return are read at all: on 5.10 even the
 * careful read warns about one that no pointer can have.
 */
static bool fr_input_is_allocated(const struct input_dev *input)
{
	const void *class;
	struct kobject kobj;
	bool going_away;
	char name[6] = "";

	if (!IS_ALIGNED((unsigned long)input, sizeof(void *)) || !virt_addr_valid(input))
		return false;

	if (!fr_peek(&class, &input->dev.class, sizeof(class)) || class != &input_class ||
	    !fr_peek(&kobj, &input->dev.kobj, sizeof(kobj)) ||
	    !fr_peek(&going_away, &input->going_away, sizeof(going_away)))
		return false;

	if (kobj.ktype != platform_bus.kobj.ktype || !kobj.state_initialized ||
	    kref_read(&kobj.kref) != 1 || kobj.state_in_sysfs || going_away)
		return false;

	return virt_addr_valid(kobj.name) && fr_peek(name, kobj.name, sizeof(name) - 1) &&
	       !strcmp(name, "input");
}

static int fr_input_word(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	struct input_dev *input = (struct input_dev *)*word;

	/* Two pointers to one device must not free it twice. */
	if (!fr_input_is_allocated(input) || fr_words_find(rescue, *word) != word)
		return 0;

	return fr_found(data, input, 0, "%s, kept in %ps", dev_name(&input->dev), word);
}

static int fr_input_allocated_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	return fr_words_each(rescue, fr_input_word, finds);
}

static int fr_input_allocated_undo(struct fr_rescue *rescue, void *object)
{
	input_free_device(object);
	return 0;
}

const struct fr_kind fr_kind_input_allocated = {
	.name = "unregistered input device",
	.stage = FR_OBJECT,
	.frees = true,
	.find = fr_input_allocated_find,
	.undo = fr_input_allocated_undo,
};
