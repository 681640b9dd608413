// SPDX-License-Identifier: GPL-2.0-only
/*
 * symbols.c - addresses that the rescue module cannot find by itself
 *
 * It looks variables up with the kernel's kprobes, and lists their names in its
 * .modinfo. On a kernel without kprobes they are read from /proc/kallsyms. A name
 * that stands there twice is left out: which one is meant cannot be told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define LIST "/proc/kallsyms"
#define KEY "symbol="
#define MAX_COUNT 128

struct symbol {
	const char *name;
	unsigned long long address;
	int seen;
};

/* Each name once. */
static size_t wanted_symbols(const struct image *image, struct symbol *symbols)
{
	const char *name = NULL;
	size_t count = 0, i;

	while (count < MAX_COUNT && (name = image_next_info(image, KEY, name))) {
		for (i = 0; i < count && strcmp(symbols[i].name, name); i++)
			;
		if (i == count)
			symbols[count++] = (struct symbol){ .name = name };
	}

	return count;
}

/* A line is "address type name", and "\t[module]" if it is not the kernel's own. */
static void take_line(char *line, struct symbol *symbols, size_t count)
{
	unsigned long long address;
	char *name;
	size_t i;

	address = strtoull(line, &name, 16);
	if (strlen(name) < 4 || strchr(name, '\t'))
		return;

	name += 3;
	name[strcspn(name, "\n")] = '\0';
	for (i = 0; i < count; i++) {
		if (strcmp(symbols[i].name, name))
			continue;
		symbols[i].address = address;
		symbols[i].seen++;
	}
}

static bool read_addresses(struct symbol *symbols, size_t count)
{
	FILE *file = fopen(LIST, "re");
	char line[1024];

	if (!file)
		return false;

	while (fgets(line, sizeof(line), file))
		take_line(line, symbols, count);
	fclose(file);
	return true;
}

bool symbols_read(const struct image *image, char *text, size_t size)
{
	struct symbol symbols[MAX_COUNT];
	size_t count = wanted_symbols(image, symbols), length = 0, i;

	if (!read_addresses(symbols, count))
		return false;

	/* Zero is shown to whoever may not see addresses. */
	for (i = 0; i < count && length < size; i++)
		if (symbols[i].seen == 1 && symbols[i].address)
			length += snprintf(text + length, size - length, "%s%s:%llx",
					   length ? "," : " symbols=", symbols[i].name,
					   symbols[i].address);

	return length && length < size;
}
