/* SPDX-License-Identifier: GPL-2.0-only */
/* cli.h - what the parts of the program force-rmmod offer each other */
#ifndef FORCE_RMMOD_CLI_H
#define FORCE_RMMOD_CLI_H

#include <stdbool.h>
#include <stddef.h>

#define RESCUE "force_rmmod"
#define MAX_SYMBOLS 8192 /* the text for the parameter symbols */
#define MAX_NAME 55 /* the kernel's MODULE_NAME_LEN without the final NUL, on 64 bits */

/* Exit codes. */
enum exit_code {
	RESCUED = 0,	/* it is gone; with --keep: can go; with --explain: was told */
	REFUSED = 1,	/* the module or the kernel said no; the victim was not touched */
	FAILED = 2,	/* it went wrong on the way, or nobody knows how far it got */
	USAGE = 3,
	RETIRED = 4,	/* it could not be proven dead: it has another name, and stays */
};

/* image.c: the rescue module, force_rmmod.ko */
struct image {
	void *data;
	size_t size;
	char source[512];	/* for people: where it comes from */
};

/* Reads path, or, if that is NULL, finds the file; false, and why, if there is none. */
bool image_find(struct image *image, const char *path, char *why, size_t size);

/* The value of a line of its .modinfo, e.g. "vermagic=" or "parmtype=force:"; or NULL. */
const char *image_info(const struct image *image, const char *key);

/* The same of the line after found, which is NULL at first. */
const char *image_next_info(const struct image *image, const char *key, const char *found);

/*
 * symbols.c: the addresses in /proc/kallsyms of what the rescue module looks up, as
 * its parameter symbols wants them; false if there is none to be seen.
 */
bool symbols_read(const struct image *image, char *text, size_t size);

/* log.c: what force_rmmod says in the kernel log */
void log_open(void);	/* only what comes from now on */
int log_descriptor(void);	/* for poll(); -1 if the log cannot be read */
void log_read(void);	/* hands what has come to report_step() */

/* facts.c: what the rescue module tells as data */
enum facts_state {
	FACTS_NONE,	/* it has not come as far as to be asked */
	FACTS_LOST,	/* there was no place, or no memory, for them */
	FACTS_WHOLE,
};

int facts_open(void);	/* where it is to write them, for the next call; -1: nowhere */
enum facts_state facts_read(void);
bool facts_is_touched(void);	/* whether it has changed anything */
bool facts_has_missing(void);	/* whether the kernel did not tell it an address */
const char *facts_retired(void);	/* what the victim is now, or NULL */
const char *facts_refusal(void);	/* its last reason for not doing it, or NULL */
const char *facts_keys(size_t *length);	/* what it knows, as lines of a JSON object, or NULL */

/* calls.c: the system calls, each made by a child of ours */
enum answer {
	/* >= 0: the errno */
	DIED = -1,	/* the kernel killed the caller: an oops */
	HANGS = -2,	/* no answer in time, or the user would not wait */
};

struct load {
	const struct image *image;
	const char *parameters;
};

void calls_open_missing(void);	/* standard input, output and error */
void calls_catch_signals(void);
bool calls_interrupted(void);
bool calls_lock(void);	/* false: another of us is at work */

/* Loads the rescue module and, if that went well, takes it out again at once. */
void calls_rescue(const struct load *load, int *loaded, int *unloaded);
int calls_delete(const char *name);

/* The same of one that is loaded already, as the guard: it stays. */
struct request {
	const char *name;
	bool force, risk_panic, explain, no_scan;
	int report;	/* the descriptor for facts, or -1 */
};

bool calls_guard_is_loaded(void);
int calls_ask(const struct request *request);

/* reasons.c: errnos in words; false for one that nobody expects */
bool reason_of_load(int error, const struct image *image, char *text, size_t size);
bool comes_first(int error, const char *name);	/* before the module can be touched */
const char *reason_of_delete(int error);
bool is_built_in(const char *name);

/* json.c: all that was said, as one object */
void json_print(const char *target, enum exit_code code, const char *outcome, const char *reason);

/* report.c: text as it happens, or one JSON object at the end */
struct report_options {
	bool json;
	const char *target;
};

void report_begin(const struct report_options *options);
void report_step(int level, const char *text);	/* a line of force_rmmod */

struct line {
	struct line *next;
	int level;	/* of the kernel log; -1: a note */
	char text[];
};

const struct line *report_lines(void);

/* What the program itself does. */
__attribute__((format(printf, 1, 2))) void report_note(const char *format, ...);

/* The end; returns code. */
__attribute__((format(printf, 3, 4)))
int report_end(enum exit_code code, const char *outcome, const char *format, ...);

#endif
