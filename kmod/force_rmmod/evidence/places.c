// SPDX-License-Identifier: GPL-2.0-only
/*
 * places.c - where the kernel itself keeps something about every module
 *
 * Each owner is walked to, from the victim or from the head of the owner's list, and
 * the words that it keeps are noted by their place, never by their value: a row here
 * is an owner and a field of it. All of it goes when the module is freed, or is only
 * remembered and never followed.
 */
#include <linux/cpumask.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/string.h>
#include <linux/trace_events.h>
#include <linux/vmalloc.h>
#if COMPAT_HAVE_EXECMEM_CACHE
#include <linux/maple_tree.h>
#endif

#ifdef CONFIG_HAVE_STATIC_CALL_INLINE
#include <linux/static_call_types.h>
#endif

#include "evidence/world.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_PLACES_LIST 100000	/* of a list, until it is given up */
#define FR_PLACES_DEPTH 8
#define FR_PLACES_SECTION 0x200000UL	/* more than a table takes */

static bool fr_place_is_direct(const void *address)
{
	return !compat_is_module_address(address) && virt_addr_valid(address);
}

/* By their addresses in the direct map, where the scan finds them. */
static void fr_place(struct fr_world *world, const void *start, size_t size)
{
	unsigned long address = (unsigned long)start, direct, step;
	struct page *page;

	if (!start)
		return;
	if (fr_place_is_direct(start)) {
		direct = (unsigned long)__va(__pa(address));
		fr_extents_add(&world->places, direct, direct + size);
		return;
	}

	for (; size; address += step, size -= step) {
		step = min(size, PAGE_SIZE - offset_in_page(address));
		page = compat_is_module_address((void *)address) ?
			vmalloc_to_page((void *)address) : NULL;
		if (!page)
			continue;
		direct = (unsigned long)page_address(page) + offset_in_page(address);
		fr_extents_add(&world->places, direct, direct + step);
	}
}

#define fr_place_word(world, member) fr_place(world, member, sizeof(*(member)))

static void fr_place_object(struct fr_world *world, const void *address)
{
	fr_extents_add_object(&world->places, address);
}

/* ---- sysfs ---- */

static void fr_place_kobject(struct fr_world *world, const struct kobject *kobj)
{
	if (kobj)
		fr_place_word(world, &kobj->parent);
}

static void fr_place_nodes(struct fr_world *world, struct kernfs_node *node, int depth)
{
	struct rb_node *rb;

	fr_place_word(world, &node->priv);
	if (kernfs_type(node) != KERNFS_DIR || !depth)
		return;
	for (rb = rb_first(&node->dir.children); rb; rb = rb_next(rb))
		fr_place_nodes(world, rb_entry(rb, struct kernfs_node, rb), depth - 1);
}

static bool fr_place_sysfs(struct fr_world *world)
{
	struct module *victim = world->victim;
	struct kernfs_node *own = victim->mkobj.kobj.sd, *root = own;
	struct mutex *lock = NULL;

	fr_place_object(world, victim->mkobj.mp);
	fr_place_kobject(world, victim->holders_dir);
	fr_place_kobject(world, victim->mkobj.drivers_dir);
#ifdef CONFIG_KALLSYMS
	fr_place_object(world, victim->sect_attrs);
	fr_place_object(world, victim->notes_attrs);
	if (COMPAT_HAVE_NOTES_DIR && victim->notes_attrs)
		fr_place_kobject(world, *(struct kobject **)victim->notes_attrs);
#endif
	if (!own)
		return true;

	while (compat_kernfs_parent(root))
		root = compat_kernfs_parent(root);
	if (COMPAT_HAVE_KERNFS_MUTEX)
		lock = fr_lookup("kernfs_mutex", sizeof(*lock));
	if ((COMPAT_HAVE_KERNFS_MUTEX && !lock) || !fr_try(compat_kernfs_trylock(root, lock)))
		return false;

	fr_place_nodes(world, own, FR_PLACES_DEPTH);
	compat_kernfs_unlock(root, lock);
	return true;
}

/* ---- the loader's lists and trees; with module_mutex ---- */

static void fr_place_neighbours(struct fr_world *world, const struct list_head *node)
{
	if (!fr_layout_is_listed(node))
		return;

	fr_place_word(world, &node->prev->next);
	fr_place_word(world, &node->next->prev);
}

static void fr_place_rb(struct fr_world *world, struct rb_node *node)
{
	struct rb_node *parent;

	if (RB_EMPTY_NODE(node))
		return;

	parent = rb_parent(node);
	if (parent && READ_ONCE(parent->rb_left) == node)
		fr_place_word(world, &parent->rb_left);
	if (parent && READ_ONCE(parent->rb_right) == node)
		fr_place_word(world, &parent->rb_right);
	if (node->rb_left)
		fr_place_word(world, &node->rb_left->__rb_parent_color);
	if (node->rb_right)
		fr_place_word(world, &node->rb_right->__rb_parent_color);
}

static void fr_place_tree(struct fr_world *world)
{
#ifdef CONFIG_MODULES_TREE_LOOKUP
	struct mod_tree_node *node;
	unsigned int i;

	for (i = 0; i < COMPAT_MODULE_TREE_NODES; i++) {
		node = compat_module_tree_node(world->victim, i);
		if (node->mod != world->victim)
			continue;
		fr_place_rb(world, &node->node.node[0]);
		fr_place_rb(world, &node->node.node[1]);
	}
#endif
}

static void fr_place_uses(struct fr_world *world)
{
	struct compat_module_use *use;

	list_for_each_entry(use, &world->victim->target_list, target_list)
		fr_place_object(world, use);
	list_for_each_entry(use, &world->victim->source_list, source_list)
		fr_place_object(world, use);
}

#ifdef CONFIG_KALLSYMS
/* Up to where the next section begins, or the page ends. */
static unsigned long fr_place_section_end(const struct module *mod, unsigned long start)
{
	unsigned long other, end = 0;
	const char *name;
	unsigned int i;

	for (i = 0; compat_section(mod, i, &other, &name); i++)
		if (other > start && (!end || other < end))
			end = other;

	return end && end - start < FR_PLACES_SECTION ? end : PAGE_ALIGN(start + 1);
}

/* Tables of where a module's functions begin, in init too. */
static bool fr_place_is_table(const char *section)
{
	return !strcmp(section, "__mcount_loc") || !strcmp(section, "__patchable_function_entries");
}

static void fr_place_tables(struct fr_world *world, const struct module *mod)
{
	unsigned long start, end;
	const char *name;
	unsigned int i;

	for (i = 0; mod->sect_attrs && compat_section(mod, i, &start, &name); i++) {
		end = fr_place_section_end(mod, start);
		if (fr_place_is_table(name) && within_module_core(start, mod) &&
		    within_module_core(end - 1, mod))
			fr_place(world, (void *)start, end - start);
	}
	fr_place_object(world, mod->sect_attrs);
	fr_place_object(world, mod->notes_attrs);
}
#else
static void fr_place_tables(struct fr_world *world, const struct module *mod)
{
}
#endif

/* What another module keeps of its init part, which may have been where the victim is. */
static void fr_place_stale(struct fr_world *world, struct module *mod)
{
	fr_place_word(world, &mod->init);
	fr_place_tables(world, mod);
}

static int fr_place_module(struct module *mod, void *data)
{
	struct fr_world *world = data;
	struct module *victim = world->victim;

	if (mod->state == MODULE_STATE_UNFORMED)
		return 0;
	if (mod != victim) {
		fr_place_stale(world, mod);
		return 0;
	}

	fr_place_neighbours(world, &victim->list);
#ifdef CONFIG_GENERIC_BUG
	fr_place_neighbours(world, &victim->bug_list);
#endif
	if (victim->mkobj.kobj.state_initialized)
		fr_place_neighbours(world, &victim->mkobj.kobj.entry);
	fr_place_tree(world);
	fr_place_uses(world);
	return 0;
}

/* ---- code that is changed while it runs ---- */

static void fr_place_calls(struct fr_world *world)
{
#ifdef CONFIG_HAVE_STATIC_CALL_INLINE
	const struct module *victim = world->victim;
	struct compat_static_call_mod *entry;
	struct static_call_site *site;
	struct static_call_key *key;
	int i;

	for (i = 0; i < victim->num_static_call_sites; i++) {
		site = &victim->static_call_sites[i];
		key = (void *)(((long)site->key + (long)&site->key) & ~3L);
		if (fr_victim_has(victim, key) || key->type & 1)
			continue;
		for (entry = (void *)key->mods; entry; entry = entry->next)
			if (entry->mod == victim)
				fr_place(world, &entry->mod, 2 * sizeof(void *));
	}
#endif
}

static void fr_place_jumps(struct fr_world *world)
{
#ifdef CONFIG_JUMP_LABEL
	const struct module *victim = world->victim;
	struct compat_static_key_mod *entry;
	struct static_key *key;
	unsigned int i;

	for (i = 0; i < victim->num_jump_entries; i++) {
		key = jump_entry_key(&victim->jump_entries[i]);
		if (fr_victim_has(victim, key) || !(key->type & JUMP_TYPE_LINKED))
			continue;
		for (entry = (void *)(key->type & ~JUMP_TYPE_MASK); entry; entry = entry->next)
			if (entry->mod == victim)
				fr_place(world, &entry->entries, 2 * sizeof(void *));
	}
#endif
}

struct fr_ftrace_page {
	struct fr_ftrace_page *next;
	void *records;
	int index;
	int order;
};

/* Which functions can be traced, by address. */
static void fr_place_traced(struct fr_world *world)
{
#ifdef CONFIG_DYNAMIC_FTRACE
	struct fr_ftrace_page **start = fr_lookup("ftrace_pages_start", sizeof(*start)), *page, copy;
	int i = 0;

	for (page = start ? *start : NULL; page && i < FR_PLACES_LIST; page = copy.next, i++) {
		if (!fr_peek(&copy, page, sizeof(copy)) || copy.order < 0 || copy.order > 10)
			return;
		fr_place(world, copy.records, PAGE_SIZE << copy.order);
	}
#endif
}

/* ---- events that can be traced ---- */

static void fr_place_hlist(struct fr_world *world, const struct hlist_node *node)
{
	struct hlist_node *const *back = (struct hlist_node *const *)node->pprev;

	if (!back || !fr_layout_is_word(back, node))
		return;

	fr_place(world, back, sizeof(*back));
	if (node->next && fr_layout_is_word(&node->next->pprev, &node->next))
		fr_place_word(world, &node->next->pprev);
}

static void fr_place_fields(struct fr_world *world, struct list_head *fields)
{
	struct list_head *node;

	if (!fr_victim_has(world->victim, fields) || !fr_layout_is_listed(fields))
		return;
	list_for_each(node, fields)
		fr_place_object(world, node);
}

static void fr_place_events(struct fr_world *world)
{
#ifdef CONFIG_EVENT_TRACING
	const struct module *victim = world->victim;
	struct trace_event_call *call;
	unsigned int i;

	for (i = 0; i < victim->num_trace_events; i++) {
		call = victim->trace_events[i];
		if (!fr_victim_has(victim, call))
			continue;
		fr_place_neighbours(world, &call->list);
		fr_place_hlist(world, &call->event.node);
		if (fr_victim_has(victim, call->class) && !call->class->get_fields)
			fr_place_fields(world, &call->class->fields);
	}
#endif
}

/* ---- lists with an entry a module ---- */

static void fr_place_list(struct fr_world *world, struct list_head *head)
{
	struct list_head *node = head, next;
	int i;

	for (i = 0; head && i < FR_PLACES_LIST; i++) {
		if (!fr_peek(&next, node, sizeof(next)) || next.next == head)
			return;
		node = next.next;
		if (virt_addr_valid(node))
			fr_place_object(world, node);
	}
}

static void fr_place_lists(struct fr_world *world)
{
	/* Messages that can be switched on, functions without probes, types, tracepoints. */
	fr_place_list(world, fr_lookup_maybe("ddebug_tables", sizeof(struct list_head)));
	fr_place_list(world, fr_lookup_maybe("kprobe_blacklist", sizeof(struct list_head)));
	fr_place_list(world, fr_lookup_maybe("btf_modules", sizeof(struct list_head)));
	fr_place_list(world, fr_lookup_maybe("tracepoint_module_list", sizeof(struct list_head)));
	fr_place_list(world, fr_lookup_maybe("ftrace_mod_maps", sizeof(struct list_head)));
}

/* ---- who manages the memory of modules ---- */

#if COMPAT_HAVE_EXECMEM_CACHE
static void fr_place_maple(struct fr_world *world, struct maple_tree *tree, unsigned long address)
{
	MA_STATE(state, tree, address, address);
	unsigned long node, parent;
	int i;

	rcu_read_lock();
	mas_walk(&state);
	node = (unsigned long)state.node;
	for (i = 0; i < 32 && virt_addr_valid((void *)node); i++) {
		node &= ~(sizeof(struct maple_node) - 1);
		fr_place(world, (void *)node, sizeof(struct maple_node));
		if (!fr_peek(&parent, (void *)node, sizeof(parent)) || parent & 1)
			break;
		node = parent;
	}
	rcu_read_unlock();
}

static void fr_place_execmem(struct fr_world *world)
{
	struct compat_execmem_cache *cache = fr_lookup_maybe("execmem_cache", sizeof(*cache));
	unsigned long base;
	size_t size;
	int type;

	for (type = 0; cache && type < MOD_MEM_NUM_TYPES; type++) {
		base = (unsigned long)compat_module_mem(world->victim, type, &size);
		if (base && size)
			fr_place_maple(world, &cache->busy_areas, base);
		/* What is free ends where the victim begins, and begins after its end. */
		if (base && size)
			fr_place_maple(world, &cache->free_areas, base);
	}
}
#else
static void fr_place_execmem(struct fr_world *world)
{
}
#endif

/*
 * What is left on the stacks of interrupts: those that ran in the victim are over, and
 * whoever makes one run there again is found.
 */
static void fr_place_interrupts(struct fr_world *world)
{
	struct fr_extent area;
	int cpu;

	for_each_online_cpu(cpu)
		if (fr_stack_of_interrupts(cpu, &area))
			fr_place(world, (void *)area.start, area.end - area.start);
}

bool fr_places(struct fr_world *world)
{
	bool all = fr_place_sysfs(world);

	fr_victim_each(fr_place_module, world);
	fr_place_calls(world);
	fr_place_jumps(world);
	fr_place_traced(world);
	fr_place_events(world);
	fr_place_lists(world);
	fr_place_execmem(world);
	fr_place_interrupts(world);
	fr_extents_sort(&world->places);

	return all && !world->places.full;
}
