// SPDX-License-Identifier: GPL-2.0-only
/*
 * proof.c - whether what still leads into the victim is alive
 *
 * Most words that a scan finds are harmless: what the loader itself keeps, which
 * goes with the module; memory that is free by now, or that only the victim knew.
 * Nobody can tell from a slab object whether it is free. So the victim is refused
 * only for what is certainly alive:
 *
 *  - a variable of the kernel or of another module,
 *  - an object on a slab that calls the victim or points to its data, and that is
 *    on a list which leads to such a variable,
 *  - an object in the victim's own data that is on such a list.
 *
 * A list is followed only as far as each neighbour points back. One that leads
 * back to its beginning, past the victim's data and slab objects only, is the
 * victim's private one. All else is counted, and some of it told.
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
#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_PROOF_LINES 8	/* of references that prove nothing */
#define FR_PROOF_NODES 10000	/* of a list, until it is given up */
#define FR_PROOF_WORDS 16	/* looked at around a word, if the object's size is unknown */
/* As in undo/memory.c: how far into a cache its node of the list lies at most. */
#define FR_PROOF_CACHE_NODE 256

struct fr_proof {
	int live, loaders, unproven;
	/* The page of the last word that was no slab's, and where a module has it, or 0. */
	struct page *page;
	unsigned long variables;
};

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

/* The address at which a module has a page, or 0. */
static unsigned long fr_proof_in_module(const struct module *mod, const struct page *page)
{
	size_t size, offset;
	void *base;
	int type;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++) {
		base = compat_module_mem(mod, type, &size);
		for (offset = 0; base && offset < size; offset += PAGE_SIZE)
			if (vmalloc_to_page(base + offset) == page)
				return ((unsigned long)base & PAGE_MASK) + offset;
	}

	return 0;
}

static unsigned long fr_proof_in_modules(const struct module *victim, const struct page *page)
{
	struct list_head *modules = fr_lookup("modules", sizeof(*modules));
	struct mutex *lock = fr_lookup("module_mutex", sizeof(*lock));
	unsigned long address = 0;
	struct module *mod;

	if (!modules || !lock)
		return 0;

	mutex_lock(lock);
	list_for_each_entry(mod, modules, list) {
		if (mod == victim || mod == THIS_MODULE || mod->state == MODULE_STATE_UNFORMED)
			continue;
		address = fr_proof_in_module(mod, page);
		if (address)
			break;
	}
	mutex_unlock(lock);

	return address;
}

/*
 * Variables in which an address is only remembered: the registers at the last oops,
 * what the loader keeps of another module, whose init may have been there, the
 * tables of the module that came last, which were sorted, and the tracer's list of
 * where functions have been that are gone.
 */
static bool fr_proof_remembers(unsigned long variable)
{
	static const char *const names[] = {
		"exec_summary_regs+", "__this_module+", "cur_orc_table+", "cur_orc_ip_table+",
		"ftrace_mod_maps+",
	};
	char name[KSYM_SYMBOL_LEN];
	size_t i;

	sprint_symbol(name, variable);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(name, names[i], strlen(names[i])))
			return true;

	return false;
}

/* The variable that a word of the direct map belongs to, or 0. */
static unsigned long fr_proof_variable(const struct module *victim, struct fr_proof *proof,
				       const unsigned long *at)
{
	struct page *page = virt_to_page(at);
	char name[KSYM_SYMBOL_LEN];
	unsigned long address;

	if (!PageReserved(page)) {
		if (page != proof->page)
			proof->variables = fr_proof_in_modules(victim, page);
		proof->page = page;
		return proof->variables ? proof->variables + offset_in_page(at) : 0;
	}

	/* Reserved memory that is not the image's comes to lie where modules do. */
	address = compat_image_address(__pa(at));
	sprint_symbol(name, address);
	return strncmp(name, "0x", 2) && !strchr(name, '[') ? address : 0;
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

/* A worker of the kernel remembers what it has run last; what runs now is on its stack. */
static bool fr_proof_is_worker(const struct fr_object *object)
{
	struct task_struct *process, *task;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(process, task)
		if ((task->flags & PF_WQ_WORKER) && !READ_ONCE(task->exit_state))
			found |= (unsigned long)kthread_data(task) - object->start < object->size;
	rcu_read_unlock();

	return found;
}

/* What stands in sysfs about the victim itself: its parameters and sections. */
static bool fr_proof_is_sysfs(const struct module *victim, const struct fr_object *object)
{
	const void *const kept[] = {
		victim->mkobj.mp,
#ifdef CONFIG_KALLSYMS
		victim->sect_attrs,
		victim->notes_attrs,
#endif
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kept); i++)
		if ((unsigned long)kept[i] - object->start < object->size)
			return true;

	return false;
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

static bool fr_proof_is_code(const struct module *victim, unsigned long value)
{
	return within_module_mem_type(value, victim, MOD_TEXT) ||
	       within_module_mem_type(value, victim, MOD_INIT_TEXT);
}

/* Where a piece of the victim begins is known to whoever manages its memory. */
static bool fr_proof_is_base(const struct module *victim, unsigned long value)
{
	size_t size;
	int type;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++)
		if (value == (unsigned long)compat_module_mem(victim, type, &size) && size)
			return true;

	return false;
}

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

/* Functions in which no probe may sit are kept as a pair of addresses. */
static bool fr_proof_is_range(const struct module *victim, const unsigned long *at)
{
	unsigned long pair[2];

	return fr_proof_read((unsigned long)at, pair, sizeof(pair)) && pair[1] > pair[0] &&
	       fr_proof_is_code(victim, pair[1]);
}

/* The tracer of functions has a table of them, by address. */
static bool fr_proof_is_traced(const struct module *victim, const unsigned long *at,
			       unsigned long value)
{
#ifdef CONFIG_DYNAMIC_FTRACE
	unsigned long other, step = sizeof(struct dyn_ftrace);

	return (fr_proof_read((unsigned long)at + step, &other, sizeof(other)) && other > value &&
		fr_proof_is_code(victim, other)) ||
	       (fr_proof_read((unsigned long)at - step, &other, sizeof(other)) && other < value &&
		fr_proof_is_code(victim, other));
#else
	return false;
#endif
}

static bool fr_proof_is_name(const struct module *victim, unsigned long value)
{
	size_t size = strlen(victim->name) + 1;

	return fr_victim_has(victim, (void *)(value + size - 1)) &&
	       !memcmp((void *)value, victim->name, size);
}

static bool fr_proof_is_loaders(const struct module *victim, const unsigned long *at,
				unsigned long value)
{
	if (value - (unsigned long)victim < sizeof(*victim) || fr_proof_is_base(victim, value))
		return true;
	if (fr_proof_is_code(victim, value))
		return fr_proof_is_range(victim, at) ||
		       (!PageSlab(compound_head(virt_to_page(at))) &&
			fr_proof_is_traced(victim, at, value));

	return fr_proof_is_described(value) || fr_proof_is_name(victim, value);
}

/* ---- the judgement ---- */

/* Only the beginning of a function is called by a pointer. */
static bool fr_proof_is_used(const struct module *victim, unsigned long value)
{
	char name[KSYM_SYMBOL_LEN];

	if (!fr_proof_is_code(victim, value))
		return true;

	sprint_symbol(name, value);
	return strstr(name, "+0x0/");
}

static void fr_proof_unproven(const struct module *victim, struct fr_proof *proof,
			      const char *place, unsigned long value)
{
	/* What a call had on a stack that is gone tells nothing. */
	if (fr_proof_is_used(victim, value) && proof->unproven++ < FR_PROOF_LINES)
		pr_info("reference: %s leads to %pS; not known to be alive\n", place,
			(void *)value);
}

/* Switches in the code are kept by module: its address stands beside that of its part. */
static bool fr_proof_is_of_module(const struct module *victim, const unsigned long *at)
{
	unsigned long before = 0, after = 0;

	fr_proof_read((unsigned long)(at - 1), &before, sizeof(before));
	fr_proof_read((unsigned long)(at + 1), &after, sizeof(after));
	return before == (unsigned long)victim || after == (unsigned long)victim;
}

static void fr_proof_slab(const struct module *victim, struct fr_proof *proof,
			  const unsigned long *at, unsigned long value, struct fr_object *object)
{
	unsigned long anchor = 0, offset = (unsigned long)at - object->start;
	char place[64];

	if (fr_proof_is_worker(object) || fr_proof_is_sysfs(victim, object)) {
		proof->loaders++;
		return;
	}

	snprintf(place, sizeof(place), "%s+%lu", object->cache, offset);
	if (fr_proof_is_used(victim, value))
		anchor = fr_proof_object_anchor(victim, object);
	if (anchor ? fr_proof_remembers(anchor) : fr_proof_is_of_module(victim, at)) {
		proof->loaders++;
		return;
	}
	if (!anchor) {
		fr_proof_unproven(victim, proof, place, value);
		return;
	}

	pr_err("alive: %s leads to %pS, on a list of %pS\n", place, (void *)value, (void *)anchor);
	proof->live++;
}

static void fr_proof_page(const struct module *victim, struct fr_proof *proof,
			  const unsigned long *at, unsigned long value)
{
	unsigned long variable = fr_proof_variable(victim, proof, at);

	if (!variable) {
		fr_proof_unproven(victim, proof, "a page", value);
	} else if (fr_proof_remembers(variable) || !fr_proof_is_used(victim, value)) {
		proof->loaders++;
	} else {
		pr_err("alive: %pS leads to %pS\n", (void *)variable, (void *)value);
		proof->live++;
	}
}

static int fr_proof_word(struct fr_rescue *rescue, unsigned long *at, void *data)
{
	const struct module *victim = rescue->victim;
	struct fr_proof *proof = data;
	struct fr_object object;
	unsigned long value;

	cond_resched();
	if (!fr_proof_read((unsigned long)at, &value, sizeof(value)))
		return 0;

	if (fr_proof_is_loaders(victim, at, value)) {
		proof->loaders++;
	} else if (fr_proof_object(at, &object)) {
		fr_proof_slab(victim, proof, at, value, &object);
	} else {
		fr_proof_page(victim, proof, at, value);
	}

	return 0;
}

static int fr_proof_own_word(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	unsigned long anchor = fr_proof_anchor(rescue->victim, (unsigned long)word);
	struct fr_proof *proof = data;

	cond_resched();
	if (!anchor || fr_proof_is_described((unsigned long)word))
		return 0;

	pr_err("alive: %pS is on a list of %pS\n", word, (void *)anchor);
	proof->live++;
	return 0;
}

int fr_proof_check(struct fr_rescue *rescue)
{
	const char *name = rescue->victim->name;
	struct fr_proof proof = { 0 };

	/* What waits to be called when nobody reads any more has been called then. */
	rcu_barrier();
	if (!fr_scan_done(rescue))
		return 0;

	fr_words_each(rescue, fr_proof_own_word, &proof);
	fr_scan_each(rescue, fr_proof_word, &proof);
	pr_info("references: %d of the loader, %d not known to be alive, %d alive\n",
		proof.loaders, proof.unproven, proof.live);
	if (!proof.live)
		return 0;

	if (rescue->options.force) {
		pr_warn("force: %s is given up although %d references to it are alive\n",
			name, proof.live);
		return 0;
	}

	fr_tell(FR_REFUSED, "%d references to %s are alive", proof.live, name);
	return -EBUSY;
}
