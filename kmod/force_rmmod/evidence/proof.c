// SPDX-License-Identifier: GPL-2.0-only
/*
 * proof.c - what can be told of a piece of memory by what leads to it
 *
 * Whether it is somebody's variable, which slab object it lies in, and whether a list of
 * the kernel's leads to that. A list is followed only as far as each neighbour points
 * back. world.c judges whether what leads into the victim is alive.
 */
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "evidence/evidence.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_PROOF_NODES 10000	/* of a list, until it is given up */
#define FR_PROOF_WORDS 16	/* looked at around a word, if the object's size is unknown */
/* As in undo/memory.c: how far into a cache its node of the list lies at most. */
#define FR_PROOF_CACHE_NODE 256

/* Not the registers of a device, which some may even be changed by reading them. */
static bool fr_proof_is_memory(unsigned long address)
{
	struct page *page;

	if (!is_vmalloc_addr((void *)address))
		return true;

	page = COMPAT_HUGE_VMALLOC_WARNS ? NULL : vmalloc_to_page((void *)address);
	return page && pfn_valid(page_to_pfn(page)) && !PageReserved(page);
}

static bool fr_proof_read(unsigned long address, void *to, size_t size)
{
	return IS_ALIGNED(address, sizeof(long)) && fr_proof_is_memory(address) &&
	       fr_peek(to, (void *)address, size);
}

/* ---- variables of others ---- */

/* Memory that was never allocated, so is not freed either: the kernel's image, and the like. */
bool fr_proof_is_static(const struct module *victim, unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];

	if (fr_victim_has(victim, (void *)address) || within_module(address, THIS_MODULE))
		return false;
	if (virt_addr_valid((void *)address))
		return PageReserved(virt_to_page((void *)address));

	sprint_symbol(name, address);
	return strncmp(name, "0x", 2);
}

/* ---- lists ---- */

/* A variable on the list that a word begins a node of, or 0. */
static unsigned long fr_proof_list(const struct module *victim, unsigned long start)
{
	unsigned long address = start, next, back;
	int i;

	for (i = 0; i < FR_PROOF_NODES; i++) {
		if (!fr_proof_read(address, &next, sizeof(next)) || next == start ||
		    !fr_proof_read(next + sizeof(next), &back, sizeof(back)) || back != address)
			return 0;
		if (fr_proof_is_static(victim, next))
			return next;
		address = next;
	}

	return 0;
}

/* The same of a list whose head is a single pointer: backwards, to the head. */
static unsigned long fr_proof_hlist(const struct module *victim, unsigned long start)
{
	unsigned long address = start, previous, next;
	int i;

	for (i = 0; i < FR_PROOF_NODES; i++) {
		if (!fr_proof_read(address + sizeof(next), &previous, sizeof(previous)) ||
		    !fr_proof_read(previous, &next, sizeof(next)) || next != address)
			return 0;
		if (fr_proof_is_static(victim, previous))
			return previous;
		address = previous;
	}

	return 0;
}

static unsigned long fr_proof_anchor(const struct module *victim, unsigned long node)
{
	unsigned long anchor = fr_proof_list(victim, node);

	return anchor ? anchor : fr_proof_hlist(victim, node);
}

/* ---- slab objects ---- */

/* From one object to the next: stands right before the size that the kernel tells. */
static unsigned int fr_proof_stride(struct kmem_cache *cache)
{
	const unsigned int *word = (unsigned int *)cache;
	unsigned int size = kmem_cache_size(cache), i;

	for (i = 1; i < 24; i++)
		if (word[i] == size && word[i - 1] >= size && word[i - 1] - size < 256)
			return word[i - 1];

	return 0;
}

/* The cache that one of the words of a page's own structure is the address of. */
static bool fr_proof_is_cache(unsigned long word, struct list_head *caches,
			      struct fr_object *object, unsigned int *stride)
{
	struct list_head *node;

	list_for_each(node, caches) {
		if ((unsigned long)node - word >= FR_PROOF_CACHE_NODE)
			continue;
		strscpy(object->cache, *((const char **)node - 1), sizeof(object->cache));
		*stride = fr_proof_stride((struct kmem_cache *)word);
		return true;
	}

	return false;
}

static void fr_proof_cache(const struct page *slab, struct fr_object *object, unsigned int *stride)
{
	struct list_head *caches = fr_lookup("slab_caches", sizeof(*caches));
	struct mutex *lock = fr_lookup("slab_mutex", sizeof(*lock));
	const unsigned long *word = (unsigned long *)slab;
	size_t i;

	*stride = 0;
	strscpy(object->cache, "a slab", sizeof(object->cache));
	if (!caches || !lock || !fr_tasks_can_lock(lock, "slab_mutex"))
		return;

	mutex_lock(lock);
	for (i = 1; i < sizeof(*slab) / sizeof(*word); i++)
		if (fr_proof_is_cache(word[i], caches, object, stride))
			break;
	mutex_unlock(lock);
}

bool fr_proof_object(const unsigned long *at, struct fr_object *object)
{
	unsigned long address = (unsigned long)at, first;
	struct page *slab = compound_head(virt_to_page(at));
	unsigned int stride;

	if (!PageSlab(slab))
		return false;

	fr_proof_cache(slab, object, &stride);
	first = (unsigned long)page_address(slab);
	if (stride) {
		object->start = first + (address - first) / stride * stride;
		object->size = stride;
	} else {
		object->start = max(address & PAGE_MASK, address - FR_PROOF_WORDS * sizeof(long));
		object->size = min((address & PAGE_MASK) + PAGE_SIZE,
				   address + (FR_PROOF_WORDS + 1) * sizeof(long)) - object->start;
	}

	return true;
}

unsigned long fr_proof_object_anchor(const struct module *victim, const struct fr_object *object)
{
	unsigned long address, anchor;

	for (address = object->start; address < object->start + object->size;
	     address += sizeof(long)) {
		anchor = fr_proof_anchor(victim, address);
		if (anchor)
			return anchor;
	}

	return 0;
}

/* ---- what the loader keeps ---- */

/* What the kernel knows of every module by itself, and forgets when the module goes. */
bool fr_proof_is_described(unsigned long value)
{
	static const char *const prefixes[] = {
		"event_", "trace_event_",	/* trace events */
		"__UNIQUE_ID_ddebug",		/* messages that can be switched on */
		"__param_",
	};
	char name[KSYM_SYMBOL_LEN];
	size_t i;

	sprint_symbol(name, value);
	for (i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;

	return false;
}

/* ---- the judgement ---- */

bool fr_proof_check(struct fr_rescue *rescue)
{
	if (fr_scan_done(rescue))
		return fr_world_judge(rescue, NULL);

	pr_warn("memory was not searched: what leads to %s is taken for alive\n",
		rescue->victim->name);
	return true;
}
