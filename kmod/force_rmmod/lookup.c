// SPDX-License-Identifier: GPL-2.0-only
/*
 * lookup.c - addresses of variables that the kernel does not export
 *
 * register_kprobe() resolves the symbol before it finds out that no probe can
 * sit there, so it refuses (EINVAL) and leaves the address in the probe. It
 * needs CONFIG_KPROBES and CONFIG_KALLSYMS_ALL; without them every look-up
 * fails. The answer is believed only if sprint_symbol() names the same symbol
 * for that address, at offset 0, in the kernel itself and large enough.
 */
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/string.h>

#include "force_rmmod.h"

/* sprint_symbol() writes "name+0xoffset/0xsize", and " [module]" for a module's. */
static bool fr_lookup_confirms(unsigned long addr, const char *symbol, size_t size)
{
	char name[KSYM_SYMBOL_LEN];
	unsigned long found;
	size_t len;

	sprint_symbol(name, addr);
	len = strlen(symbol);
	if (strncmp(name, symbol, len) || strncmp(name + len, "+0x0/", 5))
		return false;

	return !kstrtoul(name + len + 5, 0, &found) && found >= size;
}

static void *fr_lookup_ask(const char *symbol, size_t size)
{
	struct kprobe probe = { .symbol_name = symbol };

	/* A probe that can be set is one on code, which nobody asked for. */
	if (!register_kprobe(&probe)) {
		unregister_kprobe(&probe);
		probe.addr = NULL;
	}

	if (!probe.addr || !fr_lookup_confirms((unsigned long)probe.addr, symbol, size)) {
		pr_err("refused: %s not found, or not what this module knows it as\n", symbol);
		return NULL;
	}

	return probe.addr;
}

/* Kernels before 6.2 search all names for each; what was found is remembered. */
struct fr_known {
	const char *symbol;
	void *address;
};

static struct fr_known fr_known[64];

void *fr_lookup(const char *symbol, size_t size)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fr_known) && fr_known[i].symbol; i++)
		if (!strcmp(fr_known[i].symbol, symbol))
			return fr_known[i].address;

	if (i == ARRAY_SIZE(fr_known))
		return fr_lookup_ask(symbol, size);

	fr_known[i].address = fr_lookup_ask(symbol, size);
	fr_known[i].symbol = symbol;
	return fr_known[i].address;
}
