// SPDX-License-Identifier: GPL-2.0-only
/*
 * json.c - all that was said, as one JSON object
 *
 * Its keys are described in docs/json.md. What the rescue module knows comes from there
 * as it is.
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli.h"

static void json_text(const char *text)
{
	const unsigned char *c;

	putchar('"');
	for (c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

static void json_field(const char *key, const char *value)
{
	printf("\"%s\": ", key);
	json_text(value);
	printf(", ");
}

static void json_lines(const char *key, bool notes)
{
	const struct line *line;
	const char *comma = "";

	printf("\"%s\": [", key);
	for (line = report_lines(); line; line = line->next) {
		if ((line->level < 0) != notes)
			continue;
		printf("%s", comma);
		if (!notes)
			printf("{\"level\": %d, \"text\": ", line->level);
		json_text(line->text);
		printf("%s", notes ? "" : "}");
		comma = ", ";
	}
	printf("]");
}

/* As from a module that knows nothing: it did not come as far as to be asked. */
static const char nothing[] =
"\n\"state\": null,\n\"refcount\": null,\n\"used_by\": [],\n\"uses\": [],\n\"holders\": [],\n"
"\"registered\": [],\n\"rescue\": null,\n\"retired\": null,\n\"refusals\": [],\n\"steps\": [],\n";

void json_print(const char *target, enum exit_code code, const char *outcome, const char *reason)
{
	struct utsname system;
	const char *keys;
	size_t length;

	uname(&system);
	printf("{");
	json_field("target", target);
	json_field("outcome", outcome);
	json_field("reason", reason);
	printf("\"exit_code\": %d, ", code);
	json_field("kernel", system.release);
	keys = facts_keys(&length);
	if (keys)
		fwrite(keys, 1, length, stdout);
	else
		fputs(nothing, stdout);
	json_lines("log", false);
	printf(", ");
	json_lines("notes", true);
	printf("}\n");
}
