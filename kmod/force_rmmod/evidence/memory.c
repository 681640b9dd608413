// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - what a piece of memory is: a free object, a free page, a dead stack
 *
 * A slab object is free if it is on the list of free objects of its slab, of a
 * processor, or (7.0 and newer) in a sheaf. What is on none of them after
 * kmem_cache_shrink() is taken for allocated. Nothing is locked: objects come and go,
 * but what was freed after it led into the victim does not lead there any more when it
 * is allocated again, since the kernel clears it then (init_on_alloc), or its new owner
 * writes to it.
 *
 * A page is free if it is on a processor's list of free pages or in a block of the
 * buddy allocator; a count of zero alone proves nothing.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_SLAB_OBJECTS 65536	/* more than one list has */
#define FR_PAGES 65536		/* the same of pages */
#define FR_ORDERS 11
#define FR_AREA_PAGES 4096

static unsigned long fr_read(unsigned long address)
{
	unsigned long value;

	return fr_peek(&value, (void *)address, sizeof(value)) ? value : 0;
}

static unsigned int fr_read_int(unsigned long address)
{
	unsigned int value;

	return fr_peek(&value, (void *)address, sizeof(value)) ? value : 0;
}

/* ---- slabs ---- */

static struct kmem_cache *fr_slab_cache(const struct page *page)
{
	return (void *)fr_read((unsigned long)page + COMPAT_SLAB_CACHE_AT);
}

static unsigned int fr_cache_stride(const struct kmem_cache *cache)
{
	return fr_read_int((unsigned long)cache + COMPAT_CACHE_SIZE_AT);
}

bool fr_slab_find(const void *at, struct fr_slab *slab)
{
	unsigned long address = (unsigned long)at, first;

	slab->page = compound_head(virt_to_page(at));
	if (!PageSlab(slab->page) || compat_is_kfence(at))
		return false;

	slab->cache = fr_slab_cache(slab->page);
	slab->size = fr_cache_stride(slab->cache);
	if (!slab->size)
		return false;

	first = (unsigned long)page_address(slab->page);
	/* With slub_debug=Z each object has a zone before it. */
	slab->start = first + (address - first) / slab->size * slab->size +
		      fr_read_int((unsigned long)slab->cache + COMPAT_CACHE_LEFT_AT);
	strscpy(slab->name, "a slab", sizeof(slab->name));
	fr_peek(slab->name, (void *)fr_read((unsigned long)slab->cache + COMPAT_CACHE_NAME_AT),
		sizeof(slab->name) - 1);
	slab->name[sizeof(slab->name) - 1] = '\0';
	return true;
}

/* The links of a list of free objects are encoded (CONFIG_SLAB_FREELIST_HARDENED). */
static unsigned long fr_slab_next(const struct kmem_cache *cache, unsigned long object)
{
	unsigned long at = object + fr_read_int((unsigned long)cache + COMPAT_CACHE_LINK_AT);
	unsigned long next = fr_read(at);

#ifdef CONFIG_SLAB_FREELIST_HARDENED
	next ^= fr_read((unsigned long)cache + COMPAT_CACHE_RANDOM_AT) ^ swab64(at);
#endif
	return next;
}

static bool fr_slab_is_linked(const struct fr_slab *slab, unsigned long object)
{
	int i;

	for (i = 0; object && i < FR_SLAB_OBJECTS; i++) {
		if (object == slab->start)
			return true;
		if (!virt_addr_valid((void *)object))
			return false;
		object = fr_slab_next(slab->cache, object);
	}

	return false;
}

#if COMPAT_HAVE_SHEAVES
static bool fr_sheaf_has(unsigned long sheaf, const struct fr_slab *slab)
{
	unsigned int i, count = sheaf ? fr_read_int(sheaf + COMPAT_SHEAF_SIZE_AT) : 0;

	for (i = 0; i < count && i < FR_SLAB_OBJECTS; i++)
		if (fr_read(sheaf + COMPAT_SHEAF_OBJECTS_AT + i * sizeof(long)) == slab->start)
			return true;

	return false;
}

/* Calls fn for each sheaf of a processor's, until it returns true. */
static bool fr_sheaf_each(struct kmem_cache *cache,
			  bool (*fn)(unsigned long sheaf, const struct fr_slab *slab),
			  const struct fr_slab *slab)
{
	unsigned long own, member;
	int cpu;

	for_each_possible_cpu(cpu) {
		own = (unsigned long)per_cpu_ptr((char __percpu *)fr_read((unsigned long)cache), cpu);
		for (member = 1; member <= 3; member++)
			if (fn(fr_read(own + member * sizeof(long)), slab))
				return true;
	}

	return false;
}

static bool fr_slab_is_cached(const struct fr_slab *slab)
{
	return fr_sheaf_each(slab->cache, fr_sheaf_has, slab);
}

static bool fr_sheaf_is(unsigned long sheaf, const struct fr_slab *slab)
{
	return sheaf == slab->start;
}

/* Its first node, then the lists of full and of empty ones of each node's barn. */
static bool fr_sheaf_in_barn(unsigned long head, const struct fr_slab *slab)
{
	unsigned long node = fr_read(head);
	int i;

	for (i = 0; node && node != head && i < 64; i++, node = fr_read(node))
		if (node == slab->start + COMPAT_SHEAF_LIST_AT)
			return true;

	return false;
}

bool fr_slab_is_sheaf(const struct fr_slab *slab, struct kmem_cache *cache)
{
	unsigned long barn;
	int node;

	if (fr_sheaf_each(cache, fr_sheaf_is, slab))
		return true;

	for_each_online_node(node) {
		barn = fr_read((unsigned long)cache + COMPAT_CACHE_BARNS_AT + node * 2 * sizeof(long));
		if (barn && (fr_sheaf_in_barn(barn + sizeof(long), slab) ||
			     fr_sheaf_in_barn(barn + 3 * sizeof(long), slab)))
			return true;
	}

	return false;
}
#else
static bool fr_slab_is_cached(const struct fr_slab *slab)
{
	unsigned long own;
	int cpu;

	for_each_possible_cpu(cpu) {
		own = (unsigned long)per_cpu_ptr((char __percpu *)fr_read((unsigned long)slab->cache),
						 cpu);
		if (fr_slab_is_linked(slab, fr_read(own)))
			return true;
	}

	return false;
}

bool fr_slab_is_sheaf(const struct fr_slab *slab, struct kmem_cache *cache)
{
	return false;
}
#endif

bool fr_slab_is_free(const struct fr_slab *slab)
{
	if (!PageSlab(slab->page) || fr_slab_cache(slab->page) != slab->cache)
		return fr_page_is_free(virt_to_page((void *)slab->start));

	return fr_slab_is_linked(slab, fr_read((unsigned long)slab->page + COMPAT_SLAB_FREE_AT)) ||
	       fr_slab_is_cached(slab);
}

/* By an object of our own: allocated, then not. */
bool fr_slab_is_known(void)
{
	void *object = kmalloc(96, GFP_KERNEL);
	struct fr_slab slab;
	bool known;

	if (!object)
		return false;

	known = fr_slab_find(object, &slab) && slab.start == (unsigned long)object &&
		!strncmp(slab.name, "kmalloc-", 8) && !fr_slab_is_free(&slab);
	kfree(object);
	return known && fr_slab_is_free(&slab);
}

struct fr_answer {
	struct work_struct work;
	struct completion done;
};

static void fr_answer_give(struct work_struct *work)
{
	complete(&container_of(work, struct fr_answer, work)->done);
}

bool fr_slab_can_shrink(void)
{
	struct fr_answer *answer = kmalloc(sizeof(*answer), GFP_KERNEL);
	struct mutex *lock = fr_lookup("slab_mutex", sizeof(*lock));
	bool all = answer && lock && fr_tasks_can_lock(lock, "slab_mutex");
	int cpu;

	for_each_online_cpu(cpu) {
		if (!all)
			break;
		INIT_WORK(&answer->work, fr_answer_give);
		init_completion(&answer->done);
		schedule_work_on(cpu, &answer->work);
		all = wait_for_completion_timeout(&answer->done, HZ);
		cancel_work_sync(&answer->work);
	}

	kfree(answer);
	return all;
}

/* ---- pages ---- */

static bool fr_page_in_list(const struct list_head *head, unsigned long frame, unsigned int order)
{
	unsigned long node = fr_read((unsigned long)head), first;
	int i;

	for (i = 0; node != (unsigned long)head && i < FR_PAGES; i++, node = fr_read(node)) {
		first = page_to_pfn(container_of((struct list_head *)node, struct page, lru));
		if (!pfn_valid(first))
			return false;
		if (frame - first < 1UL << order)
			return true;
	}

	return false;
}

static bool fr_page_is_cached(struct page *page)
{
	struct zone *zone = page_zone(page);
	struct per_cpu_pages *pages;
	unsigned int i;
	int cpu;

	for_each_online_cpu(cpu) {
		pages = compat_zone_pages(zone, cpu);
		for (i = 0; i < ARRAY_SIZE(pages->lists); i++)
			if (fr_page_in_list(&pages->lists[i], page_to_pfn(page),
					    compat_pages_order(i)))
				return true;
	}

	return false;
}

/* As is_free_buddy_page(), which 5.10 does not export. */
static bool fr_page_is_buddy(struct page *page)
{
	unsigned long frame = page_to_pfn(page), order;
	struct page *head;

	for (order = 0; order < FR_ORDERS; order++) {
		head = pfn_to_online_page(frame & ~((1UL << order) - 1));
		if (head && PageBuddy(head) && page_private(head) >= order)
			return true;
	}

	return false;
}

bool fr_page_is_free(struct page *page)
{
	return fr_page_is_buddy(page) || fr_page_is_cached(page);
}

/* ---- where memory is mapped page by page ---- */

static void fr_alias_found(struct fr_alias *aliases, size_t count, unsigned long frame,
			   unsigned long address)
{
	size_t low = 0, high = count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (aliases[middle].frame < frame)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < count && aliases[low].frame == frame && !aliases[low].address)
		aliases[low].address = address;
}

#ifdef CONFIG_X86_64
static void fr_alias_table(pmd_t *pmd, unsigned long address, struct fr_alias *aliases, size_t count)
{
	pte_t *pte = pte_offset_kernel(pmd, address & PMD_MASK);
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++)
		if (pte_val(pte[i]) & _PAGE_PRESENT)
			fr_alias_found(aliases, count, pte_pfn(pte[i]),
				       (address & PMD_MASK) + i * PAGE_SIZE);
}

static void fr_alias_block(pmd_t *pmd, unsigned long address, struct fr_alias *aliases, size_t count)
{
	unsigned long frame = pmd_pfn(*pmd);
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++)
		fr_alias_found(aliases, count, frame + i, (address & PMD_MASK) + i * PAGE_SIZE);
}

/* Returns the address after what has been looked at. */
static unsigned long fr_alias_step(unsigned long address, struct fr_alias *aliases, size_t count)
{
	pgd_t *pgd = pgd_offset(current->active_mm, address);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return (address & PGDIR_MASK) + PGDIR_SIZE;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d))
		return (address & P4D_MASK) + P4D_SIZE;
	pud = pud_offset(p4d, address);
	if (pud_none(*pud) || pud_val(*pud) & _PAGE_PSE)
		return (address & PUD_MASK) + PUD_SIZE;
	pmd = pmd_offset(pud, address);
	if (!pmd_none(*pmd) && pmd_val(*pmd) & _PAGE_PSE)
		fr_alias_block(pmd, address, aliases, count);
	else if (!pmd_none(*pmd))
		fr_alias_table(pmd, address, aliases, count);
	return (address & PMD_MASK) + PMD_SIZE;
}

static void fr_alias_range(unsigned long address, unsigned long end, struct fr_alias *aliases,
			   size_t count)
{
	unsigned long next;

	for (; address < end; address = next) {
		next = fr_alias_step(address, aliases, count);
		if (next <= address)
			return;
		cond_resched();
	}
}

void fr_alias_fill(struct fr_alias *aliases, size_t count)
{
	fr_alias_range(MODULES_VADDR, MODULES_END, aliases, count);
	fr_alias_range(VMALLOC_START, VMALLOC_END, aliases, count);
}
#else
/* Nobody has tried it: what is mapped so is not explained then. */
void fr_alias_fill(struct fr_alias *aliases, size_t count)
{
}
#endif

static bool fr_area_is_mapped(unsigned long address)
{
	return vmalloc_to_page((void *)address);
}

bool fr_area_find(unsigned long address, struct fr_extent *area)
{
	unsigned long pages = 0;

	area->start = address & PAGE_MASK;
	area->end = area->start + PAGE_SIZE;
	while (pages++ < FR_AREA_PAGES && fr_area_is_mapped(area->start - PAGE_SIZE))
		area->start -= PAGE_SIZE;
	while (pages++ < FR_AREA_PAGES && fr_area_is_mapped(area->end))
		area->end += PAGE_SIZE;

	return pages < FR_AREA_PAGES;
}

/* ---- stacks ---- */

struct fr_interrupt {
	struct irq_work work;
	unsigned long stack;	/* an address on it */
};

static void fr_interrupt_comes(struct irq_work *work)
{
	struct fr_interrupt *interrupt = container_of(work, struct fr_interrupt, work);

	interrupt->stack = (unsigned long)&interrupt;
}

/* An interrupt finds us there, in the kernel, and so takes its own stack. */
bool fr_stack_of_interrupts(int cpu, struct fr_extent *area)
{
	struct fr_interrupt interrupt = { };
	cpumask_var_t before;

	if (!zalloc_cpumask_var(&before, GFP_KERNEL))
		return false;

	cpumask_copy(before, current->cpus_ptr);
	if (!set_cpus_allowed_ptr(current, cpumask_of(cpu))) {
		init_irq_work(&interrupt.work, fr_interrupt_comes);
		irq_work_queue(&interrupt.work);
		irq_work_sync(&interrupt.work);
		set_cpus_allowed_ptr(current, before);
	}
	free_cpumask_var(before);

	return compat_is_module_address((void *)interrupt.stack) &&
	       fr_area_find(interrupt.stack, area) &&
	       interrupt.stack - (unsigned long)current->stack >= THREAD_SIZE;
}

static bool fr_stack_has_task(unsigned long start)
{
	struct task_struct *process, *task;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(process, task)
		found |= (unsigned long)READ_ONCE(task->stack) == start;
	rcu_read_unlock();

	return found;
}

/*
 * Or one of those that run when there is nothing to run, which call no module but by
 * what is registered. That of a task that is just being made is empty.
 */

bool fr_stack_is_dead(unsigned long address)
{
	struct fr_extent area;

	if (!IS_ENABLED(CONFIG_VMAP_STACK) || !fr_area_find(address, &area) ||
	    area.end - area.start != THREAD_SIZE || !IS_ALIGNED(area.start, THREAD_SIZE))
		return false;

	return fr_read(area.start) == STACK_END_MAGIC && !fr_stack_has_task(area.start);
}
