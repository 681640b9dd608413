// SPDX-License-Identifier: GPL-2.0-only
/*
 * json.c - all that was said, as one JSON object
 *
 *	target		the name of the module
 *	outcome		rescued, retired, removable, explained, refused, interrupted, failed,
 *			usage
 *	reason		one line for people
 *	exit_code	the program's
 *	kernel		its release
 *	state		of the module: words, or null if it was not found
 *	refcount	a number, or null
 *	used_by, uses	lists of modules
 *	holders		list of {kind, pid, command, descriptor, path, text}: kind is file,
 *			socket, mapping, mount, thread or kernel (perhaps); what it does not
 *			have, or cannot be made out, is null
 *	registered	with --explain: list of {kind, text}
 *	rescue		with --explain: what a rescue would come to, otherwise null
 *	refusals	list of reasons against it
 *	steps		what it did, or with --explain would do, in this order
 *	log		list of {level, text}: every line of force_rmmod, with the level of the
 *			kernel log (3: error, 4: warning, 6: info)
 *	notes		what this program itself did or could not do
 *
 * The lines of force_rmmod are described in explain.c beside this folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli.h"

/* Prints what a line says after its prefix. */
typedef void json_printer(const char *text);

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

/* Where the lines of the last try begin: a rescue may be tried twice. */
static const struct line *json_first(void)
{
	const struct line *line, *start = report_lines();

	for (line = start; line; line = line->next)
		if (line->level >= 0 && report_begins(line->text))
			start = line;

	return start;
}

/* What a line of force_rmmod says after a prefix, or NULL if it begins otherwise. */
static const char *json_says(const struct line *line, const char *prefix)
{
	size_t length = strlen(prefix);

	if (line->level < 0 || strncmp(line->text, prefix, length))
		return NULL;

	return line->text + length;
}

static const char *json_fact(const char *prefix)
{
	const struct line *line;
	const char *said = NULL;

	for (line = json_first(); line && !said; line = line->next)
		said = json_says(line, prefix);

	return said;
}

static void json_fact_field(const char *key, const char *prefix, json_printer *print)
{
	const char *said = json_fact(prefix);

	printf("\"%s\": ", key);
	if (said)
		print(said);
	else
		printf("null");
	printf(", ");
}

static void json_items(const char *prefix, const char *none, json_printer *print,
		       const char **comma)
{
	const struct line *line;
	const char *said;

	for (line = json_first(); line; line = line->next) {
		said = json_says(line, prefix);
		if (!said || (none && !strcmp(said, none)))
			continue;
		printf("%s", *comma);
		print(said);
		*comma = ", ";
	}
}

static void json_list(const char *key, const char *prefix, const char *none, json_printer *print)
{
	const char *comma = "";

	printf("\"%s\": [", key);
	json_items(prefix, none, print, &comma);
	printf("], ");
}

static void json_number(const char *text)
{
	printf("%d", atoi(text));
}

/* "KIND: WORDS" */
static void json_registered(const char *text)
{
	const char *colon = strstr(text, ": ");
	char kind[64];

	snprintf(kind, sizeof(kind), "%.*s", colon ? (int)(colon - text) : 0, text);
	printf("{");
	json_field("kind", kind);
	printf("\"text\": ");
	json_text(colon ? colon + 2 : text);
	printf("}");
}

/* ---- holders ---- */

static const struct holder {
	const char *kind;
	const char *mark;	/* comes after the command */
	bool numbered;		/* a descriptor comes after the mark */
	const char *path;	/* comes before the path; NULL: it has none */
} holders[] = {
	{ "file", ", descriptor ", true, ", " },
	{ "socket", ", socket ", true, NULL },
	{ "mapping", ", mapping at ", false, ", " },
	{ "mount", ", mount of ", false, " at " },
	{ "thread", ", runs in it", false, NULL },
};

/* Which of them a text is; mark is where its mark stands. */
static const struct holder *json_which(const char *text, const char **mark)
{
	const struct holder *holder, *found = NULL;
	const char *at;

	for (holder = holders; holder < holders + sizeof(holders) / sizeof(*holders); holder++) {
		at = strstr(text, holder->mark);
		if (at && (!found || at < *mark)) {
			found = holder;
			*mark = at;
		}
	}

	return found;
}

static void json_holder_fields(const struct holder *holder, const char *command, const char *mark)
{
	const char *rest = mark + strlen(holder->mark);
	const char *path = holder->path ? strstr(rest, holder->path) : NULL;
	char name[32];

	snprintf(name, sizeof(name), "%.*s", (int)(mark - command), command);
	json_field("command", name);
	if (holder->numbered)
		printf("\"descriptor\": %d, ", atoi(rest));
	else
		printf("\"descriptor\": null, ");
	if (path)
		json_field("path", path + strlen(holder->path));
	else
		printf("\"path\": null, ");
}

/* How much of a text is the command of a process, as far as that lives; 0 otherwise. */
static size_t json_command(int pid, const char *text)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, sizeof(name), file))
		name[0] = '\0';
	if (file)
		fclose(file);

	name[strcspn(name, "\n")] = '\0';
	return strncmp(text, name, strlen(name)) ? 0 : strlen(name);
}

/* What follows "pid NUMBER, ", or NULL if a text begins otherwise. */
static const char *json_pid(const char *text, int *pid)
{
	char *end;

	if (strncmp(text, "pid ", 4))
		return NULL;

	*pid = strtol(text + 4, &end, 10);
	return strncmp(end, ", ", 2) ? NULL : end + 2;
}

static const char *json_kind_without_pid(const char *text)
{
	if (!strncmp(text, "a mount of ", 11))
		return "\"mount\"";

	return strncmp(text, "perhaps the kernel, ", 20) ? "null" : "\"kernel\"";
}

/* "pid NUMBER, COMMAND, ...", "a mount of TYPE ..." or "perhaps the kernel, ..." */
static void json_holder(const char *text)
{
	const struct holder *holder = NULL;
	const char *command, *mark = NULL;
	int pid = 0;

	command = json_pid(text, &pid);
	if (command)
		holder = json_which(command + json_command(pid, command), &mark);

	printf("{");
	if (holder) {
		json_field("kind", holder->kind);
		printf("\"pid\": %d, ", pid);
		json_holder_fields(holder, command, mark);
	} else {
		printf("\"kind\": %s, ", json_kind_without_pid(text));
		printf("\"pid\": null, \"command\": null, ");
		printf("\"descriptor\": null, \"path\": null, ");
	}
	printf("\"text\": ");
	json_text(text);
	printf("}");
}

/* ---- the whole ---- */

static void json_steps(void)
{
	const char *comma = "";

	printf("\"steps\": [");
	json_items("step: ", NULL, json_text, &comma);
	json_items("undo: ", NULL, json_text, &comma);
	printf("], ");
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

void json_print(const char *target, enum exit_code code, const char *outcome, const char *reason)
{
	struct utsname system;

	uname(&system);
	printf("{");
	json_field("target", target);
	json_field("outcome", outcome);
	json_field("reason", reason);
	printf("\"exit_code\": %d, ", code);
	json_field("kernel", system.release);
	json_fact_field("state", "state: ", json_text);
	json_fact_field("refcount", "reference count: ", json_number);
	json_list("used_by", "used by: ", "no module", json_text);
	json_list("uses", "uses: ", "no module", json_text);
	json_list("holders", "held by: ", NULL, json_holder);
	json_list("registered", "registered: ", NULL, json_registered);
	json_fact_field("rescue", "outcome: ", json_text);
	json_list("refusals", "refused: ", NULL, json_text);
	json_steps();
	json_lines("log", false);
	printf(", ");
	json_lines("notes", true);
	printf("}\n");
}
