// SPDX-License-Identifier: GPL-2.0-only
/*
 * facts.c - what the rescue module tells as data
 *
 * It writes one JSON object, a key a line, into a file of ours without a name, whose
 * descriptor is one of its parameters (force_rmmod/facts.c). Most of it is handed on as
 * it is; the little that this program itself goes by is looked up by its key.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"

#define LAST "\"complete\": true\n}\n"

static int facts_fd = -1;
static char *facts;		/* what was read, or NULL */

/* Where the kernel has no memfd: a file that was never linked, or is at once unlinked. */
static int open_unnamed(void)
{
	static const char *const folders[] = { "/dev/shm", "/run", "/tmp" };
	char path[64];
	int fd = memfd_create("force-rmmod", MFD_CLOEXEC);
	size_t i;

	for (i = 0; fd < 0 && i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "%s/force-rmmod-XXXXXX", folders[i]);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}

	return fd;
}

int facts_open(void)
{
	free(facts);
	facts = NULL;
	if (facts_fd < 0)
		facts_fd = open_unnamed();
	if (facts_fd >= 0 && ftruncate(facts_fd, 0))
		return -1;

	return facts_fd;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && !strcmp(text + length - tail, end);
}

enum facts_state facts_read(void)
{
	off_t size = facts_fd < 0 ? -1 : lseek(facts_fd, 0, SEEK_END);

	free(facts);
	facts = NULL;
	if (!size)
		return FACTS_NONE;

	facts = size < 0 ? NULL : malloc(size + 1);
	if (!facts || pread(facts_fd, facts, size, 0) != size)
		goto err_lost;

	facts[size] = '\0';
	if (ends_with(facts, LAST))
		return FACTS_WHOLE;

err_lost:
	free(facts);
	facts = NULL;
	return FACTS_LOST;
}

/* What stands after a key, to the end of its line, or NULL. */
static const char *facts_value(const char *key)
{
	char wanted[64];
	const char *at;

	snprintf(wanted, sizeof(wanted), "\n\"%s\": ", key);
	at = facts ? strstr(facts, wanted) : NULL;
	return at ? at + strlen(wanted) : NULL;
}

bool facts_is_touched(void)
{
	const char *value = facts_value("touched");

	return value && !strncmp(value, "true", 4);
}

bool facts_has_missing(void)
{
	const char *value = facts_value("missing");

	return value && strncmp(value, "[]", 2);
}

/* Copies a string of JSON as far as there is room; returns what follows it. */
static const char *copy_string(const char *from, char *to, size_t size)
{
	unsigned int code;
	size_t used = 0;

	for (from++; *from && *from != '"'; from++) {
		code = (unsigned char)*from;
		if (code == '\\' && *++from == 'u' && sscanf(from + 1, "%4x", &code) == 1)
			from += 4;
		else
			code = (unsigned char)*from;
		if (used + 1 < size)
			to[used++] = code;
	}
	to[used] = '\0';

	return *from ? from + 1 : from;
}

const char *facts_retired(void)
{
	static char text[512];
	const char *value = facts_value("retired");

	if (!value || *value != '"')
		return NULL;

	copy_string(value, text, sizeof(text));
	return text;
}

const char *facts_refusal(void)
{
	static char text[512];
	const char *value = facts_value("refusals");

	if (!value || value[1] != '"')
		return NULL;

	/* The last is what it came to. */
	for (value++; *value == '"'; value += !strncmp(value, ", ", 2) ? 2 : 0)
		value = copy_string(value, text, sizeof(text));

	return text;
}

/* All keys but the first, which is ours too, and the last. */
const char *facts_keys(size_t *length)
{
	const char *from = facts_value("target"), *to;

	from = from ? strchr(from, '\n') : NULL;
	to = from ? strstr(from, "\"missing\": ") : NULL;
	*length = to ? (size_t)(to - from) : 0;
	return to ? from : NULL;
}
