// SPDX-License-Identifier: GPL-2.0-only
/*
 * lookup.c - addresses of variables that the kernel does not export
 *
 * register_kprobe() resolves the symbol before it finds out that no probe can
 * sit there, so it refuses (EINVAL) and leaves the address in the probe. It
 * needs CONFIG_KPROBES and CONFIG_KALLSYMS_ALL; without them every look-up
 * fails. Then addresses can be handed over, as root reads them in /proc/kallsyms:
 *
 *	insmod force_rmmod.ko target=vms symbols=modules:ffffffff8268d4d0,...
 *
 * Those come first; `modinfo -F symbol` lists the names.
 *
 * Where the kernel goes through all names for each that is asked for, it is asked
 * for two only, where its variables begin and end; the names of all in between are
 * read by address, which is quick.
 *
 * An address is believed only if sprint_symbol() names the same symbol for it, at
 * offset 0, in the kernel itself and large enough.
 */
#include <linux/jhash.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "facts.h"
#include "kernel/kernel.h"

/* What was found is remembered. */
struct fr_known {
	char symbol[40];
	void *address;	/* NULL: there is none */
	bool handed;	/* over, so its size is still to be checked */
};

static struct fr_known fr_known[96];

/* The entry of a symbol, an empty one if it is new, or NULL if there is no room. */
static struct fr_known *fr_known_entry(const char *symbol)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_known); i++)
		if (!*fr_known[i].symbol || !strcmp(fr_known[i].symbol, symbol))
			return &fr_known[i];

	return NULL;
}

/* sprint_symbol() writes "name+0xoffset/0xsize", and " [module]" for a module's. */
static bool fr_lookup_confirms(void *address, const char *symbol, size_t size)
{
	char name[KSYM_SYMBOL_LEN];
	unsigned long found;
	size_t len;

	sprint_symbol(name, (unsigned long)address);
	len = strlen(symbol);
	if (strncmp(name, symbol, len) || strncmp(name + len, "+0x0/", 5))
		return false;

	return !kstrtoul(name + len + 5, 0, &found) && found >= size;
}

static void *fr_lookup_ask(const char *symbol)
{
	struct kprobe probe = { .symbol_name = symbol };

	/* A probe that can be set is one on code, which nobody asked for. */
	if (!register_kprobe(&probe)) {
		unregister_kprobe(&probe);
		return NULL;
	}

	return probe.addr;
}

/* ---- all variables at once ---- */

#define FR_NAMES_MAX 65536

struct fr_name {
	u32 hash;	/* of the name */
	u32 offset;	/* of the variable, from the first */
};

static struct fr_name *fr_names;
static size_t fr_names_count;
static unsigned long fr_names_start;

static u32 fr_names_hash(const char *name, size_t len)
{
	return jhash(name, len, 0);
}

/* Adds what is at an address; returns how far the next one is, 0 if that is unknown. */
static unsigned long fr_names_add(unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];
	unsigned long size;
	char *rest;

	sprint_symbol(name, address);
	rest = strstr(name, "+0x0/");
	if (!rest || kstrtoul(rest + 5, 0, &size))
		return 0;

	fr_names[fr_names_count++] = (struct fr_name){
		.hash = fr_names_hash(name, rest - name),
		.offset = address - fr_names_start,
	};
	return size;
}

static void fr_names_fill(void)
{
	unsigned long end = (unsigned long)fr_lookup_ask("__bss_stop");
	unsigned long at, size = 1;

	fr_names_start = (unsigned long)fr_lookup_ask("_sdata");
	fr_names = kvmalloc_array(FR_NAMES_MAX, sizeof(*fr_names), GFP_KERNEL);
	if (!fr_names_start || !fr_names)
		return;

	for (at = fr_names_start; at < end && size && fr_names_count < FR_NAMES_MAX; at += size)
		size = fr_names_add(at);
}

/* The address, if it is one of those; else the kernel is asked as ever. */
static void *fr_names_find(const char *symbol)
{
	u32 hash = fr_names_hash(symbol, strlen(symbol));
	void *address;
	size_t i;

	if (!fr_names)
		fr_names_fill();

	for (i = 0; i < fr_names_count; i++) {
		address = (void *)(fr_names_start + fr_names[i].offset);
		if (fr_names[i].hash == hash && fr_lookup_confirms(address, symbol, 0))
			return address;
	}

	return NULL;
}

void fr_lookup_forget(void)
{
	kvfree(fr_names);
	fr_names = NULL;
	fr_names_count = 0;
}

/* ---- one at a time ---- */

static void *fr_lookup_find(const char *symbol)
{
	void *address = COMPAT_SLOW_KALLSYMS ? fr_names_find(symbol) : NULL;

	return address ? address : fr_lookup_ask(symbol);
}

static void *fr_lookup_any(const char *symbol, size_t size, bool quiet)
{
	struct fr_known *known = fr_known_entry(symbol);
	static char nothing;

	/* A spinlock of a kernel for one processor: there is none, and none is needed. */
	if (!size)
		return &nothing;

	if (!known) {
		fr_tell(FR_REFUSED, "too many symbols");
		return NULL;
	}
	if (*known->symbol && !known->handed)
		return known->address;

	if (!*known->symbol) {
		strscpy(known->symbol, symbol, sizeof(known->symbol));
		known->address = fr_lookup_find(symbol);
	}
	known->handed = false;
	if (!known->address || !fr_lookup_confirms(known->address, symbol, size)) {
		if (!quiet)
			fr_tell_missing(symbol);
		known->address = NULL;
	}

	return known->address;
}

void *fr_lookup_name(const char *symbol, size_t size)
{
	return fr_lookup_any(symbol, size, false);
}

void *fr_lookup_quietly(const char *symbol, size_t size)
{
	return fr_lookup_any(symbol, size, true);
}

/* One "name:address", the address in hexadecimal digits. */
static int fr_symbols_take(char *symbol)
{
	char *address = strchr(symbol, ':');
	struct fr_known *known;
	unsigned long value;

	if (address)
		*address++ = '\0';
	if (!address || kstrtoul(address, 16, &value)) {
		fr_tell(FR_REFUSED, "symbols: want name:address,..., not '%s'", symbol);
		return -EINVAL;
	}

	known = fr_known_entry(symbol);
	if (!known || strlen(symbol) >= sizeof(known->symbol)) {
		fr_tell(FR_REFUSED, "symbols: too many, or too long a name: %s", symbol);
		return -EINVAL;
	}
	if (!fr_lookup_confirms((void *)value, symbol, 0)) {
		fr_tell(FR_REFUSED, "symbols: %s is not at %lx", symbol, value);
		return -EINVAL;
	}

	strscpy(known->symbol, symbol, sizeof(known->symbol));
	known->address = (void *)value;
	known->handed = true;
	return 0;
}

static int fr_symbols_set(const char *value, const struct kernel_param *param)
{
	char *list = kstrdup(value, GFP_KERNEL), *rest = list, *symbol;
	int ret = 0;

	if (!list)
		return -ENOMEM;

	while (!ret && (symbol = strsep(&rest, ",")))
		ret = fr_symbols_take(symbol);

	kfree(list);
	return ret;
}

static const struct kernel_param_ops fr_symbols_ops = {
	.set = fr_symbols_set,
};

/* Not to be read in sysfs: addresses of the kernel are nobody's business. */
module_param_cb(symbols, &fr_symbols_ops, NULL, 0);
__MODULE_PARM_TYPE(symbols, "charp");
MODULE_PARM_DESC(symbols, "addresses from /proc/kallsyms, for a kernel without kprobes");
