// SPDX-License-Identifier: GPL-2.0-only
/* report.c - text as it happens, or one JSON object at the end */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define TARGET_PREFIX "target: "
#define REFUSED_PREFIX "refused: "
#define RETIRED_PREFIX "retired: "
#define TOUCHED_PREFIX "undo: "
#define MISSING_PREFIX "refused: not found: "

static struct report_options report;
static struct line *first, **last = &first;
static const char *refusal, *retired;
static bool begun, touched, missing;

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

bool report_begins(const char *text)
{
	return !strncmp(text, TARGET_PREFIX, strlen(TARGET_PREFIX)) &&
	       !strcmp(text + strlen(TARGET_PREFIX), report.target);
}

/* What a guard did for others before is not about the target. */
void report_step(int level, const char *text)
{
	const char *kept = remember(level, text);

	if (report_begins(text)) {
		report_again();
		begun = true;
	}
	if (kept && !strncmp(kept, REFUSED_PREFIX, strlen(REFUSED_PREFIX)))
		refusal = kept + strlen(REFUSED_PREFIX);
	if (kept && begun && !strncmp(kept, RETIRED_PREFIX, strlen(RETIRED_PREFIX)))
		retired = kept + strlen(RETIRED_PREFIX);
	if (begun && !strncmp(text, TOUCHED_PREFIX, strlen(TOUCHED_PREFIX)))
		touched = true;
	if (!strncmp(text, MISSING_PREFIX, strlen(MISSING_PREFIX)))
		missing = true;
	if (!report.json)
		printf("  %s\n", text);
}

const struct line *report_lines(void)
{
	return first;
}

const char *report_refusal(void)
{
	return refusal;
}

const char *report_retired(void)
{
	return retired;
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
	begun = false;
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

int report_end(enum exit_code code, const char *outcome, const char *format, ...)
{
	char reason[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);

	if (report.json)
		json_print(report.target, code, outcome, reason);
	else
		fprintf(code == RESCUED ? stdout : stderr, "%s: %s\n", outcome, reason);
	fflush(stdout);

	return code;
}
