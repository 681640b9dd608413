// SPDX-License-Identifier: GPL-2.0-only
/* irq.c - interrupt handlers, or names of them, that are the victim's */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "evidence/evidence.h"
#include "undo/undo.h"
#include "victim/victim.h"

/* More than any x86 or arm64 machine that we know of has; gaps cost little. */
#define FR_IRQ_NUMBERS 65536

static bool fr_irq_is_of(const struct irqaction *action, const struct module *victim)
{
	return fr_victim_has(victim, (void *)action->handler) ||
	       fr_victim_has(victim, (void *)action->thread_fn) ||
	       fr_victim_has(victim, action->name) || fr_victim_has(victim, action);
}

static int fr_irq_collect(const struct module *victim, struct fr_finds *finds,
			  struct irq_desc *desc)
{
	struct irqaction *action;
	unsigned long flags;
	int ret = 0;

	raw_spin_lock_irqsave(&desc->lock, flags);
	for (action = desc->action; action && !ret; action = action->next)
		if (fr_irq_is_of(action, victim))
			ret = fr_found(finds, action, 0, "%s, number %u", action->name,
				       action->irq);
	raw_spin_unlock_irqrestore(&desc->lock, flags);

	return ret;
}

static int fr_irq_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	struct irq_data *data;
	unsigned int irq;
	int ret = 0;

	for (irq = 0; irq < FR_IRQ_NUMBERS && !ret; irq++) {
		data = irq_get_irq_data(irq);
		if (data)
			ret = fr_irq_collect(rescue->victim, finds, irq_data_to_desc(data));
	}

	return ret;
}

static int fr_irq_undo(struct fr_rescue *rescue, void *object)
{
	struct irqaction *action = object;
	const unsigned long words[] = { action->irq, (unsigned long)action->dev_id };
	struct device *devres = fr_devres_find(rescue->victim, words, ARRAY_SIZE(words));

	if (devres)
		devm_free_irq(devres, action->irq, action->dev_id);
	else
		free_irq(action->irq, action->dev_id);

	put_device(devres);
	return 0;
}

const struct fr_kind fr_kind_irq = {
	.name = "interrupt handler",
	.stage = FR_ACTIVE,
	.find = fr_irq_find,
	.undo = fr_irq_undo,
};
