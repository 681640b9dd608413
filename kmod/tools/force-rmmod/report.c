// SPDX-License-Identifier: GPL-2.0-only
/* report.c - text as it happens, or one JSON object at the end */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static struct report_options report;
static struct line *first, **last = &first;

void report_begin(const struct report_options *options)
{
	report = *options;
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static void remember(int level, const char *text)
{
	struct line *line = malloc(sizeof(*line) + strlen(text) + 1);

	if (!line)
		return;

	line->next = NULL;
	line->level = level;
	strcpy(line->text, text);
	*last = line;
	last = &line->next;
}

void report_step(int level, const char *text)
{
	remember(level, text);
	if (!report.json)
		printf("  %s\n", text);
}

const struct line *report_lines(void)
{
	return first;
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
