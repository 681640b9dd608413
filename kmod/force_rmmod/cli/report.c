// SPDX-License-Identifier: GPL-2.0-only
/*
 * report.c - text as it happens, or one JSON object at the end
 *
 *	{"target": "vms", "outcome": "refused", "reason": "...", "exit_code": 1,
 *	 "kernel": "6.12.1", "steps": [{"level": 6, "text": "state: live"}],
 *	 "notes": ["..."]}
 *
 * outcome: rescued, removable, explained, refused, interrupted, failed or usage.
 * steps: what force_rmmod said, with the level of the kernel log (3: error,
 * 4: warning, 6: info). notes: what this program itself did or could not do.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli.h"

#define REFUSED_PREFIX "refused: "
#define TOUCHED_PREFIX "undo: "
#define MISSING_PREFIX "refused: not found: "

struct line {
	struct line *next;
	int level;	/* -1: a note */
	char text[];
};

static struct report_options report;
static struct line *first, **last = &first;
static const char *refusal;
static bool touched, missing;

void report_begin(const struct report_options *options)
{
	report = *options;
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static const char *remember(int level, const char *text)
{
	struct line *line = malloc(sizeof(*line) + strlen(text) + 1);

	if (!line)
		return NULL;

	line->next = NULL;
	line->level = level;
	strcpy(line->text, text);
	*last = line;
	last = &line->next;
	return line->text;
}

void report_step(int level, const char *text)
{
	const char *kept = remember(level, text);

	if (kept && !strncmp(kept, REFUSED_PREFIX, strlen(REFUSED_PREFIX)))
		refusal = kept + strlen(REFUSED_PREFIX);
	if (!strncmp(text, TOUCHED_PREFIX, strlen(TOUCHED_PREFIX)))
		touched = true;
	if (!strncmp(text, MISSING_PREFIX, strlen(MISSING_PREFIX)))
		missing = true;
	if (!report.json)
		printf("  %s\n", text);
}

const char *report_refusal(void)
{
	return refusal;
}

bool report_touched(void)
{
	return touched;
}

bool report_missing(void)
{
	return missing;
}

void report_again(void)
{
	refusal = NULL;
	missing = false;
}

void report_note(const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	remember(-1, text);
	if (!report.json)
		printf("%s\n", text);
}

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

static void json_steps(void)
{
	const char *comma = "";
	struct line *line;

	printf("\"steps\": [");
	for (line = first; line; line = line->next) {
		if (line->level < 0)
			continue;
		printf("%s{\"level\": %d, \"text\": ", comma, line->level);
		json_text(line->text);
		printf("}");
		comma = ", ";
	}
	printf("]");
}

static void json_notes(void)
{
	const char *comma = "";
	struct line *line;

	printf(", \"notes\": [");
	for (line = first; line; line = line->next) {
		if (line->level >= 0)
			continue;
		printf("%s", comma);
		json_text(line->text);
		comma = ", ";
	}
	printf("]");
}

static void json_object(enum exit_code code, const char *outcome, const char *reason)
{
	struct utsname system;

	uname(&system);
	printf("{");
	json_field("target", report.target);
	json_field("outcome", outcome);
	json_field("reason", reason);
	printf("\"exit_code\": %d, ", code);
	json_field("kernel", system.release);
	json_steps();
	json_notes();
	printf("}\n");
}

int report_end(enum exit_code code, const char *outcome, const char *format, ...)
{
	char reason[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);

	if (report.json)
		json_object(code, outcome, reason);
	else
		fprintf(code == RESCUED ? stdout : stderr, "%s: %s\n", outcome, reason);
	fflush(stdout);

	return code;
}
