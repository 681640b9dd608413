// SPDX-License-Identifier: GPL-2.0-only
/*
 * owners.c - whether references that nobody is found to hold may be the kernel's own
 *
 * What holds a module is not always a program's: the kernel itself takes a reference
 * for a disk with a file system on it, a cipher or a rule of the firewall in use, a
 * sound card that plays. It does so through the owner that what the module registered
 * names: a pointer to the module, in a structure of the module's own data, or in an
 * object that the kernel made.
 *
 * So the references of a module are taken for leaked only if all such structures that
 * anything in memory leads to are of the kinds whose users holders.c finds, and no
 * large object that is on a list of the kernel names the module. Small ones are what
 * the kernel keeps of every module.
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/string.h>

#include <net/sock.h>

#include "evidence/evidence.h"
#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

/* Of the kernel's own about a module, none is larger. */
#define FR_OWNERS_SMALL 64

static const struct fr_holder fr_owners_kernel = { "kernel", NULL, -1, NULL };

struct fr_owners {
	int count;
	const Elf_Sym *told;	/* the structure told last */
};

/* Where a structure whose users are files, sockets or mounts names its owner. */
static bool fr_owners_is_known(size_t size, size_t offset)
{
	static const struct {
		size_t size, offset;
	} kinds[] = {
		{ sizeof(struct file_operations), offsetof(struct file_operations, owner) },
		{ sizeof(struct file_system_type), offsetof(struct file_system_type, owner) },
		{ sizeof(struct net_proto_family), offsetof(struct net_proto_family, owner) },
		{ sizeof(struct proto_ops), offsetof(struct proto_ops, owner) },
		{ sizeof(struct proto), offsetof(struct proto, owner) },
		{ sizeof(struct cdev), offsetof(struct cdev, owner) },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].size == size && kinds[i].offset == offset)
			return true;

	return false;
}

/* A driver names its owner right behind its name and its bus; its users are devices. */
static bool fr_owners_is_driver(const struct module *victim, const unsigned long *word)
{
	return fr_victim_has(victim, (void *)word[-2]) && fr_proof_is_static(victim, word[-1]);
}

/* A character device names it before its operations. */
static bool fr_owners_is_cdev(const struct module *victim, const unsigned long *word)
{
	unsigned long ops;

	return fr_peek(&ops, word + 1, sizeof(ops)) && fr_victim_has(victim, (void *)ops);
}

/* The variable of the victim's that an address lies in, as its symbol table tells, or NULL. */
static const Elf_Sym *fr_owners_variable(const struct module *victim, unsigned long address)
{
#ifdef CONFIG_KALLSYMS
	const struct mod_kallsyms *names = &victim->core_kallsyms;
	unsigned int i;

	for (i = 0; i < names->num_symtab; i++)
		if (address - names->symtab[i].st_value < names->symtab[i].st_size)
			return &names->symtab[i];
#endif
	return NULL;
}

bool fr_owners_variable_at(const struct module *victim, unsigned long address,
			   unsigned long *start, unsigned long *size)
{
	const Elf_Sym *variable = fr_owners_variable(victim, address);

	if (!variable)
		return false;

	*start = variable->st_value;
	*size = variable->st_size;
	return true;
}

/* Whether a variable names the victim as the owner of something of another kind. */
static bool fr_owners_is_unknown(const struct module *victim, const Elf_Sym *variable)
{
	const unsigned long *first = (unsigned long *)variable->st_value, *word = first;
	const unsigned long *end = first + variable->st_size / sizeof(*word);

	if (!IS_ALIGNED(variable->st_value, sizeof(*word)))
		return false;

	for (; word < end; word++) {
		if (*word != (unsigned long)victim)
			continue;
		if (fr_owners_is_known(variable->st_size, (word - first) * sizeof(*word)))
			continue;
		if (word - first >= 2 && fr_owners_is_driver(victim, word))
			continue;
		if (fr_owners_is_cdev(victim, word))
			continue;
		return true;
	}

	return false;
}

static void fr_owners_found(struct fr_owners *owners, const Elf_Sym *variable)
{
	if (owners->told != variable)
		fr_tell_holder(&fr_owners_kernel, "perhaps the kernel, which uses %ps",
			       (void *)variable->st_value);
	owners->told = variable;
	owners->count++;
}

/* The victim itself, in an object of somebody's. */
static void fr_owners_object(const struct module *victim, struct fr_owners *owners,
			     const unsigned long *at)
{
	struct fr_object object;

	if (!fr_proof_object(at, &object) || object.size <= FR_OWNERS_SMALL ||
	    fr_owners_is_cdev(victim, at) || !fr_proof_object_anchor(victim, &object))
		return;

	fr_tell_holder(&fr_owners_kernel, "perhaps the kernel, which has an object of it in %s",
		       object.cache);
	owners->count++;
}

static int fr_owners_word(struct fr_rescue *rescue, unsigned long *at, void *data)
{
	const struct module *victim = rescue->victim;
	struct fr_owners *owners = data;
	const Elf_Sym *variable;
	unsigned long value;

	cond_resched();
	if (!fr_peek(&value, at, sizeof(value)))
		return 0;
	if (value == (unsigned long)victim) {
		fr_owners_object(victim, owners, at);
		return 0;
	}
	if (value - (unsigned long)victim < sizeof(*victim) || fr_proof_is_described(value))
		return 0;

	variable = fr_owners_variable(victim, value);
	if (variable && fr_owners_is_unknown(victim, variable))
		fr_owners_found(owners, variable);

	return 0;
}

int fr_owners_check(struct fr_rescue *rescue)
{
	const struct module *victim = rescue->victim;
	int refs = module_refcount(rescue->victim);
	struct fr_owners owners = { 0 };

	fr_scan_each(rescue, fr_owners_word, &owners);
	if (!owners.count || rescue->options.force) {
		pr_warn("%snobody is found who holds the %d references to %s\n",
			owners.count ? "force: " : "", refs, victim->name);
		return 0;
	}

	fr_tell(FR_REFUSED, "the %d references to %s may be the kernel's own", refs, victim->name);
	return -EBUSY;
}
