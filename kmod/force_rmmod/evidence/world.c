// SPDX-License-Identifier: GPL-2.0-only
/*
 * world.c - the closed-world proof: whether anything that leads into the victim is alive
 *
 * Each word of memory that leads into the victim has to be explained by where it
 * stands: in what the kernel keeps of every module (places.c), in a free object,
 * a free page or a dead stack (memory.c), or in an object that, in its turn, only
 * what is explained leads to: memory that the victim allocated and that nobody else
 * knows. Everything else is alive. Nothing is explained by its value.
 *
 * For the last of these, memory is searched once more for what leads to such objects,
 * until there is nothing new, or something alive.
 *
 * Of what is to be undone first, the proof can be asked beforehand: then a word counts
 * as explained too if it stands in an object that a row of undo.c is about to undo, or
 * leads to one.
 */
#include <linux/errno.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kernfs.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/trace_events.h>
#include <linux/vmalloc.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_WORLD_ROUNDS 8
#define FR_WORLD_LINES 8
#define FR_WORLD_CHAIN 4		/* objects that are told of */
#define FR_WORLD_COVERED 4096	/* pieces of what rows undo */

/* What a word is. */
enum fr_word {
	FR_WORD_EXPLAINED,
	FR_WORD_OBJECT,		/* in an object that may be known to the victim only */
	FR_WORD_ALIVE,
};

/* ---- what a word stands in ---- */

static unsigned long fr_word_alias(const struct fr_world *world, const unsigned long *at)
{
	unsigned long frame = page_to_pfn(virt_to_page(at));
	size_t low = 0, high = world->alias_count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (world->aliases[middle].frame < frame)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == world->alias_count || world->aliases[low].frame != frame ||
	    !world->aliases[low].address)
		return 0;

	return world->aliases[low].address + offset_in_page(at);
}

/*
 * Who manages mapped memory: the area that begins there, or the one that ends there. One
 * that is given back remembers a vm_struct that is none any more.
 */
static bool fr_word_is_area(const struct fr_slab *slab, const unsigned long *at, unsigned long value)
{
	struct vmap_area area;
	struct vm_struct found;

	if (strcmp(slab->name, "vmap_area") || !fr_peek(&area, (void *)slab->start, sizeof(area)) ||
	    area.va_start >= area.va_end || !IS_ALIGNED(area.va_start | area.va_end, PAGE_SIZE))
		return false;
	if (at == (void *)slab->start + offsetof(struct vmap_area, va_end))
		return true;
	if (at == (void *)slab->start + offsetof(struct vmap_area, vm))
		return !fr_peek(&found, area.vm, sizeof(found)) ||
		       (unsigned long)found.addr != area.va_start;

	return at == (void *)slab->start + offsetof(struct vmap_area, va_start) &&
	       fr_peek(&found, area.vm, sizeof(found)) && (unsigned long)found.addr == value;
}

/* Of memory that the victim has mapped: which of its functions asked, for people to read. */
static bool fr_word_is_caller(const struct fr_slab *slab, const unsigned long *at)
{
	struct vm_struct mapped;
	struct page *first;

	return at == (void *)slab->start + offsetof(struct vm_struct, caller) &&
	       fr_peek(&mapped, (void *)slab->start, sizeof(mapped)) &&
	       !COMPAT_HUGE_VMALLOC_WARNS && is_vmalloc_addr(mapped.addr) &&
	       PAGE_ALIGNED((unsigned long)mapped.addr) &&
	       mapped.nr_pages && fr_peek(&first, mapped.pages, sizeof(first)) &&
	       vmalloc_to_page(mapped.addr) == first;
}

/* The other half of that: an area's vm_struct, if that area says so. */
static bool fr_word_is_mapping(const struct fr_world *world, const struct fr_slab *slab,
			       const unsigned long *at, unsigned long value)
{
	struct vmap_area area;
	struct fr_slab other;
	unsigned long word;
	size_t i;

	if (at != (void *)slab->start + offsetof(struct vm_struct, addr))
		return false;

	for (i = 0; i < world->count; i++) {
		if (!fr_peek(&word, world->words[i], sizeof(word)) || word != value ||
		    !fr_slab_find(world->words[i], &other) || strcmp(other.name, "vmap_area") ||
		    !fr_peek(&area, (void *)other.start, sizeof(area)))
			continue;
		if (area.va_start == value && (unsigned long)area.vm == slab->start)
			return true;
	}

	return false;
}

/* What the dead insmod would have freed: an object of its own, exactly of that content. */
static bool fr_word_is_initfree(const struct fr_world *world, const struct fr_slab *slab)
{
	static const enum mod_mem_type types[] = { MOD_INIT_TEXT, MOD_INIT_DATA, MOD_INIT_RODATA };
	unsigned long content[1 + COMPAT_INITFREE_PARTS], base;
	size_t i, size;

	if (kmem_cache_size(slab->cache) != sizeof(content) ||
	    !fr_peek(content, (void *)slab->start, sizeof(content)) || content[0])
		return false;

	for (i = 0; i < COMPAT_INITFREE_PARTS; i++) {
		base = (unsigned long)compat_module_mem(world->victim, types[i], &size);
		if (content[i + 1] != base || (!i && !base))
			return false;
	}

	return true;
}

/* A worker of the kernel remembers which function it has run last, for the scheduler. */
static bool fr_word_is_last(const struct fr_slab *slab, const unsigned long *at)
{
	const struct compat_worker *worker = (void *)slab->start;
	struct task_struct *process, *task;
	bool found = false;

	if ((void *)at < (void *)(worker + 1) + 2 * sizeof(void *))
		return false;

	rcu_read_lock();
	for_each_process_thread(process, task)
		if ((task->flags & PF_WQ_WORKER) && !READ_ONCE(task->exit_state))
			found |= (unsigned long)kthread_data(task) == slab->start;
	rcu_read_unlock();

	return found;
}

/*
 * In a node of sysfs or an entry of /proc that was taken away: who still has one is
 * turned away by its count, and does not look any further.
 */
static bool fr_word_is_removed(const struct fr_slab *slab, const unsigned long *at)
{
	struct compat_proc_dir_entry entry;
	struct kernfs_node node;

	if (!strcmp(slab->name, "kernfs_node_cache"))
		return at == (void *)slab->start + offsetof(struct kernfs_node, priv) &&
		       fr_peek(&node, (void *)slab->start, sizeof(node)) &&
		       atomic_read(&node.active) == COMPAT_KERNFS_BIAS;

	return !strcmp(slab->name, "proc_dir_entry") &&
	       fr_peek(&entry, (void *)slab->start, sizeof(entry)) &&
	       atomic_read(&entry.in_use) == INT_MIN;
}

/* That of an event of the victim's, in a folder of the tracer. */
static bool fr_word_is_event(const struct fr_world *world, const struct fr_slab *slab,
			     const unsigned long *at, unsigned long value)
{
#ifdef CONFIG_EVENT_TRACING
	unsigned int i;

	if (strcmp(slab->name, "trace_event_file") ||
	    at != (void *)slab->start + offsetof(struct trace_event_file, event_call))
		return false;
	for (i = 0; i < world->victim->num_trace_events; i++)
		if ((unsigned long)world->victim->trace_events[i] == value)
			return true;
#endif
	return false;
}

/* For one that leads to an object: the allocator's list of free ones, as it was before. */
static bool fr_word_is_allocators(const struct fr_world *world, const struct fr_slab *slab,
				  unsigned long value)
{
	struct fr_slab target;

	return virt_addr_valid((void *)value) && !fr_victim_has(world->victim, (void *)value) &&
	       fr_slab_find((void *)value, &target) && fr_slab_is_sheaf(slab, target.cache);
}

static bool fr_word_is_free(struct fr_world *world, const struct fr_slab *slab)
{
	size_t i;

	if (!world->slabs_known)
		return false;
	if (fr_slab_is_free(slab))
		return true;
	if (!world->can_shrink)
		return false;

	/* Once a round; the last caches are remembered. */
	for (i = 0; i < FR_WORLD_SHRUNK; i++)
		if (world->shrunk[i] == slab->cache)
			return false;
	world->shrunk[world->shrinks++ % FR_WORLD_SHRUNK] = slab->cache;
	kmem_cache_shrink(slab->cache);
	return fr_slab_is_free(slab);
}

static bool fr_word_is_ours(const struct fr_world *world, unsigned long start)
{
	return world->rescue->is_ours && world->rescue->is_ours((void *)start);
}

static enum fr_word fr_word_slab(struct fr_world *world, const struct fr_slab *slab,
				 const unsigned long *at, unsigned long value)
{
	if (fr_word_is_area(slab, at, value) || fr_word_is_mapping(world, slab, at, value) ||
	    fr_word_is_caller(slab, at) || fr_word_is_initfree(world, slab) || fr_word_is_last(slab, at) ||
	    fr_word_is_event(world, slab, at, value) || fr_word_is_removed(slab, at) ||
	    fr_word_is_allocators(world, slab, value) || fr_word_is_ours(world, slab->start) ||
	    fr_word_is_free(world, slab))
		return FR_WORD_EXPLAINED;

	fr_extents_add(&world->fresh, slab->start, slab->start + slab->size);
	return FR_WORD_OBJECT;
}

/*
 * Variables in which an address is only remembered: the registers at the last oops, and
 * the tables of the module that came last, which were sorted; and the tree of modules.
 */
static bool fr_word_is_remembered(const char *variable)
{
	static const char *const names[] = {
		"exec_summary_regs+", "cur_orc_table+", "cur_orc_ip_table+", "mod_tree+",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(variable, names[i], strlen(names[i])))
			return true;

	return false;
}

/* The name of the variable that a word of reserved memory belongs to, or "". */
static void fr_word_variable(const unsigned long *at, char *name)
{
	int cpu;

	sprint_symbol(name, compat_image_address(__pa(at)));
	if (strncmp(name, "0x", 2) && !strchr(name, '['))
		return;
	for_each_possible_cpu(cpu) {
		sprint_symbol(name, (unsigned long)at - per_cpu_offset(cpu));
		if (strncmp(name, "0x", 2) && !strchr(name, '['))
			return;
	}
	*name = '\0';
}

static enum fr_word fr_word_page(struct fr_world *world, const unsigned long *at)
{
	struct page *page = virt_to_page(at);
	unsigned long alias;
	struct fr_extent area;
	char name[KSYM_SYMBOL_LEN];

	if (PageReserved(page)) {
		fr_word_variable(at, name);
		return fr_word_is_remembered(name) ? FR_WORD_EXPLAINED : FR_WORD_ALIVE;
	}
	if (fr_page_is_free(page))
		return FR_WORD_EXPLAINED;

	alias = fr_word_alias(world, at);
	if (!alias)
		return FR_WORD_ALIVE;
	if (fr_stack_is_dead(alias))
		return FR_WORD_EXPLAINED;
	if (!is_vmalloc_addr((void *)alias) || !fr_area_find(alias, &area))
		return FR_WORD_ALIVE;
	if (fr_word_is_ours(world, area.start))
		return FR_WORD_EXPLAINED;

	fr_extents_add(&world->fresh, area.start, area.end);
	return FR_WORD_OBJECT;
}

/* One that has been judged already, or is being undone: so is what leads to it. */
static bool fr_word_is_known(const struct fr_world *world, const unsigned long *at,
			     unsigned long value)
{
	unsigned long alias = fr_word_alias(world, at);

	return fr_extents_find(&world->own, (unsigned long)at) ||
	       (alias && fr_extents_find(&world->own, alias)) ||
	       fr_extents_find(&world->places, (unsigned long)at) ||
	       fr_extents_find(&world->covered, (unsigned long)at) ||
	       (alias && fr_extents_find(&world->covered, alias)) ||
	       fr_extents_find(&world->covered, value);
}

/* ---- what is told ---- */

static void fr_word_place(const struct fr_world *world, const unsigned long *at, char *text,
			  size_t size)
{
	unsigned long alias = fr_word_alias(world, at);
	char name[KSYM_SYMBOL_LEN];
	struct fr_slab slab;

	if (fr_slab_find(at, &slab)) {
		snprintf(text, size, "%s+%lu", slab.name, (unsigned long)at - slab.start);
	} else if (PageReserved(virt_to_page(at))) {
		fr_word_variable(at, name);
		snprintf(text, size, "%s", *name ? name : "reserved memory");
	} else if (alias) {
		snprintf(text, size, "%pS", (void *)alias);
	} else {
		snprintf(text, size, "a page");
	}
}

/* Where an object that is looked at leads on to, nearer to the victim. */
static const unsigned long *fr_word_next(const struct fr_world *world, const struct fr_slab *slab)
{
	const unsigned long *at, *end = (unsigned long *)(slab->start + slab->size);
	unsigned long value;

	for (at = (unsigned long *)slab->start; at < end; at++)
		if (fr_peek(&value, at, sizeof(value)) && value - slab->start >= slab->size &&
		    fr_extents_find(&world->own, value))
			return at;

	return NULL;
}

/* From where to where, object by object. */
static void fr_word_chain(const struct fr_world *world, unsigned long value, char *text, size_t size)
{
	const unsigned long *at;
	struct fr_slab slab;
	size_t used = 0;
	int i;

	for (i = 0; i < FR_WORLD_CHAIN && !fr_victim_has(world->victim, (void *)value); i++) {
		if (!virt_addr_valid((void *)value) || !fr_slab_find((void *)value, &slab))
			break;
		at = fr_word_next(world, &slab);
		if (!at || !fr_peek(&value, at, sizeof(value)))
			break;
		used += scnprintf(text + used, size - used, "an object of %s that leads from +%lu to ",
				  slab.name, (unsigned long)at - slab.start);
	}
	if (fr_victim_has(world->victim, (void *)value))
		scnprintf(text + used, size - used, "%pS", (void *)value);
	else
		scnprintf(text + used, size - used, "memory of %s", world->victim->name);
}

static void fr_word_tell(struct fr_world *world, const unsigned long *at, unsigned long value)
{
	char place[KSYM_SYMBOL_LEN], to[KSYM_SYMBOL_LEN];

	if (world->alive++ >= FR_WORLD_LINES || !world->told)
		return;

	fr_word_place(world, at, place, sizeof(place));
	fr_word_chain(world, value, to, sizeof(to));
	pr_err("alive: %s leads to %s\n", place, to);
}

/* ---- a round ---- */

static int fr_alias_compare(const void *left, const void *right)
{
	const struct fr_alias *a = left, *b = right;

	return a->frame < b->frame ? -1 : a->frame > b->frame;
}

/* Of all pages that are neither a slab's nor reserved, at once: the tables are large. */
static bool fr_world_aliases(struct fr_world *world)
{
	struct fr_alias *list = world->aliases;
	size_t i, count = 0, to = 0;
	struct page *page;

	for (i = 0; i < world->count; i++) {
		page = virt_to_page(world->words[i]);
		if (PageSlab(compound_head(page)) || PageReserved(page))
			continue;
		if (count && list[count - 1].frame == page_to_pfn(page))
			continue;
		if (count == FR_WORLD_ALIASES)
			return false;
		list[count++] = (struct fr_alias){ page_to_pfn(page), 0 };
	}

	sort(list, count, sizeof(*list), fr_alias_compare, NULL);
	for (i = 0; i < count; i++)
		if (!to || list[to - 1].frame != list[i].frame)
			list[to++] = list[i];
	world->alias_count = to;
	fr_alias_fill(list, to);
	return true;
}

static enum fr_word fr_world_word(struct fr_world *world, const unsigned long *at,
				  unsigned long value)
{
	struct fr_slab slab;

	if (fr_word_is_known(world, at, value))
		return FR_WORD_EXPLAINED;
	if (fr_slab_find(at, &slab))
		return fr_word_slab(world, &slab, at, value);
	if (PageSlab(compound_head(virt_to_page(at))))
		return FR_WORD_ALIVE;

	return fr_word_page(world, at);
}

/* Words may have changed since they were found: what leads nowhere any more is no word. */
static void fr_world_round(struct fr_world *world)
{
	enum fr_word word;
	unsigned long value;
	size_t i;

	for (i = 0; i < world->count; i++) {
		cond_resched();
		if (!fr_peek(&value, world->words[i], sizeof(value)) ||
		    !fr_extents_find(&world->own, value))
			continue;
		word = fr_world_word(world, world->words[i], value);
		if (word == FR_WORD_ALIVE)
			fr_word_tell(world, world->words[i], value);
		else
			world->explained++;
	}
}

/* Objects that somebody may have at hand, and the last that was found so. */
struct fr_world_hand {
	const struct fr_world *world;
	unsigned long word;
};

/* Whether somebody who sleeps or runs has one of the objects at hand. */
static bool fr_world_is_held(unsigned long word, bool waiting, const void *data)
{
	struct fr_world_hand *hand = (struct fr_world_hand *)data;

	hand->word = word;
	return fr_extents_find(&hand->world->objects, word);
}

static void fr_world_print_holder(struct task_struct *task, const void *data)
{
	const struct fr_world_hand *hand = data;
	char to[KSYM_SYMBOL_LEN];

	if (!hand->world->told)
		return;
	fr_word_chain(hand->world, hand->word, to, sizeof(to));
	pr_err("alive: pid %d, %s, has at hand %s\n", task_pid_nr(task), task->comm, to);
}

/* Last of all: on a stack may be what a call has left there long ago. */
static void fr_world_stacks(struct fr_world *world)
{
	struct fr_world_hand hand = { world };
	const struct fr_stack_query query = { fr_world_is_held, &hand };

	fr_extents_sort(&world->objects);
	if (world->objects.count && fr_tasks_stay(&query))
		world->alive += fr_tasks_count(&query, fr_world_print_holder);
}

static void fr_world_own(struct fr_world *world)
{
	unsigned long start;
	size_t size;
	int type, cpu;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++) {
		start = (unsigned long)compat_module_mem(world->victim, type, &size);
		if (start && size)
			fr_extents_add(&world->own, start, start + size);
	}
#ifdef CONFIG_SMP
	for_each_possible_cpu(cpu) {
		if (!world->victim->percpu_size)
			break;
		start = (unsigned long)per_cpu_ptr(world->victim->percpu, cpu);
		fr_extents_add(&world->own, start, start + world->victim->percpu_size);
	}
#endif
	fr_extents_sort(&world->own);
}

/* Takes what is new into what the victim has; false if there is nothing new. */
static bool fr_world_grow(struct fr_world *world)
{
	size_t i;

	if (!world->fresh.count)
		return false;

	for (i = 0; i < world->fresh.count; i++) {
		fr_extents_add(&world->own, world->fresh.list[i].start, world->fresh.list[i].end);
		fr_extents_add(&world->objects, world->fresh.list[i].start,
			       world->fresh.list[i].end);
	}
	fr_extents_sort(&world->own);
	world->fresh.count = 0;
	return true;
}

static int fr_world_scan(struct fr_world *world, const void *ours, size_t size)
{
	long count = fr_scan_for(world->rescue, &world->own, ours, size, world->words,
				 FR_WORLD_WORDS);

	if (count < 0)
		return count;

	world->count = count;
	return fr_world_aliases(world) ? 0 : -E2BIG;
}

static int fr_world_rounds(struct fr_world *world, const void *ours, size_t size)
{
	int round, ret;

	for (round = 0; round < FR_WORLD_ROUNDS; round++) {
		ret = fr_world_scan(world, ours, size);
		if (ret)
			return ret;
		world->explained = 0;
		memset(world->shrunk, 0, sizeof(world->shrunk));
		fr_world_round(world);
		fr_extents_sort(&world->fresh);
		if (!world->alive && fr_world_grow(world)) {
			if (world->own.full || world->fresh.full)
				break;
			continue;
		}
		if (!world->alive)
			fr_world_stacks(world);
		return 0;
	}

	if (world->told)
		pr_err("alive: more objects lead to %s than can be followed\n",
		       world->victim->name);
	world->alive++;
	return 0;
}

/* One block for all of it, so that the scan leaves it out. */
static struct fr_world *fr_world_new(struct fr_rescue *rescue, size_t *size)
{
	const size_t extents = 3 * FR_WORLD_OWN + FR_WORLD_COVERED + FR_WORLD_PLACES;
	struct fr_extent *list;
	struct fr_world *world;

	*size = sizeof(*world) + extents * sizeof(*list) + FR_WORLD_WORDS * sizeof(*world->words) +
		FR_WORLD_ALIASES * sizeof(*world->aliases);
	world = vzalloc(*size);
	if (!world)
		return NULL;

	world->rescue = rescue;
	world->victim = rescue->victim;
	list = (struct fr_extent *)(world + 1);
	world->own = (struct fr_extents){ list, .limit = FR_WORLD_OWN };
	list += FR_WORLD_OWN;
	world->fresh = (struct fr_extents){ list, .limit = FR_WORLD_OWN };
	list += FR_WORLD_OWN;
	world->objects = (struct fr_extents){ list, .limit = FR_WORLD_OWN };
	list += FR_WORLD_OWN;
	world->covered = (struct fr_extents){ list, .limit = FR_WORLD_COVERED };
	list += FR_WORLD_COVERED;
	world->places = (struct fr_extents){ list, .limit = FR_WORLD_PLACES };
	list += FR_WORLD_PLACES;
	world->words = (unsigned long **)list;
	world->aliases = (struct fr_alias *)(world->words + FR_WORLD_WORDS);
	return world;
}

static int fr_world_look(struct fr_world *world, size_t size)
{
	world->alive = 0;
	world->own.count = world->own.full = 0;
	world->fresh.count = world->fresh.full = 0;
	world->objects.count = world->objects.full = 0;
	world->places.count = world->places.full = 0;
	fr_world_own(world);

	return fr_places(world) ? fr_world_rounds(world, world, size) : -EAGAIN;
}

int fr_world_judge(struct fr_rescue *rescue, void (*cover)(struct fr_rescue *rescue,
							    struct fr_extents *covered))
{
	struct fr_world *world;
	size_t size;
	int ret;

	world = fr_world_new(rescue, &size);
	if (!world)
		return -ENOMEM;

	world->slabs_known = fr_slab_is_known();
	world->can_shrink = world->slabs_known && fr_slab_can_shrink();
	if (cover) {
		cover(rescue, &world->covered);
		fr_extents_sort(&world->covered);
	}
	ret = fr_world_look(world, size);
	/* What waits to be freed until nobody reads any more is told only when it was. */
	if (!ret && world->alive) {
		synchronize_rcu();
		compat_wait_for_frees();
		world->told = true;
		ret = fr_world_look(world, size);
	}
	if (ret)
		pr_err("alive: what leads to %s cannot be judged: %d\n",
		       rescue->victim->name, ret);
	else
		pr_info("references: %u explained, %u alive\n", world->explained, world->alive);
	ret = ret ? ret : world->alive;
	vfree(world);

	return ret;
}
