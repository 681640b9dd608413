// SPDX-License-Identifier: GPL-2.0-only
/*
 * force-rmmod - takes a stuck module out of the kernel, on a board with nothing
 * else on it
 *
 *	force-rmmod vms
 *
 * loads the rescue module force_rmmod (with init_module(2): finit_module(2) walks
 * a table that the stuck module may have damaged), shows what it says in the
 * kernel log, takes it out again, and removes the module that was stuck. Linked
 * statically; the rescue module is appended to this very file by
 * `make force-rmmod`, so that one file is all a board needs.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

#define RESCUE_PROGRAM "force-rmmod"

static const char usage[] =
"usage: force-rmmod [--explain] [--force [--risk-panic]] [--keep] [--no-scan] [--json]\n"
"                   [--module FILE] NAME\n"
"       force-rmmod --list\n"
"       force-rmmod --sweep [--module FILE]\n"
"\n"
"Takes the stuck module NAME out of the kernel, without a reboot. One that cannot be\n"
"proven dead is retired instead: it is renamed, stays in memory, and NAME is free.\n"
"\n"
"  --explain      tell about NAME and what would be done; touch nothing\n"
"  --force        do not refuse for what is in use; NAME is retired then\n"
"  --risk-panic   with --force: free NAME although it may be alive; what still calls\n"
"                 it then takes the kernel down\n"
"  --keep         make NAME removable, but do not remove it\n"
"  --no-scan      do not search memory for what still leads into NAME, which is\n"
"                 retired then\n"
"  --list         show what was retired; take one of them (NAME~1) to prove it again\n"
"  --sweep        prove all of them again, and remove those that nothing leads to\n"
"  --json         one JSON object on standard output instead of text\n"
"  --module FILE  the rescue module, for the running kernel. Otherwise: the one\n"
"                 that `make force-rmmod` appended to this program, else\n"
"                 force_rmmod.ko beside this program, else in extra/, updates/\n"
"                 or updates/dkms/ below /lib/modules/$(uname -r)\n"
"\n"
"Exit code: 0 rescued, 1 refused (NAME was not touched), 2 failed, 3 wrong usage,\n"
"4 retired.\n";

struct options {
	bool explain, force, risk_panic, keep, no_scan, list, sweep, json, help;
	const char *module;
	char name[MAX_NAME + 1];
};

static const struct option long_options[] = {
	{ "explain", no_argument, NULL, 'e' },
	{ "force", no_argument, NULL, 'f' },
	{ "risk-panic", no_argument, NULL, 'r' },
	{ "keep", no_argument, NULL, 'k' },
	{ "list", no_argument, NULL, 'l' },
	{ "sweep", no_argument, NULL, 'w' },
	{ "no-scan", no_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "module", required_argument, NULL, 'm' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* Why a text cannot be the name of a module, or NULL. */
static const char *wrong_name(const char *name)
{
	size_t len = strlen(name);
	const char *c;

	if (!len)
		return "the name is empty";
	if (len > MAX_NAME)
		return "the name is longer than any module's";
	if (strchr(name, '/') || (len > 3 && !strcmp(name + len - 3, ".ko")))
		return "want a module's name as lsmod shows it, not a file";
	for (c = name; *c; c++)
		if (!isgraph((unsigned char)*c) || strchr("\"'\\,=", *c))
			return "no module's name has such characters";

	return NULL;
}

/* The kernel's own spelling. */
static void set_name(struct options *options, const char *name)
{
	char *c;

	strcpy(options->name, name);
	for (c = options->name; *c; c++)
		if (*c == '-')
			*c = '_';
}

static const char *parse_flag(struct options *options, int option)
{
	switch (option) {
	case 'e':
		options->explain = true;
		return NULL;
	case 'f':
		options->force = true;
		return NULL;
	case 'r':
		options->risk_panic = true;
		return NULL;
	case 'k':
		options->keep = true;
		return NULL;
	case 'l':
		options->list = true;
		return NULL;
	case 'w':
		options->sweep = true;
		return NULL;
	case 's':
		options->no_scan = true;
		return NULL;
	case 'j':
		options->json = true;
		return NULL;
	case 'h':
		options->help = true;
		return NULL;
	case 'm':
		options->module = optarg;
		return NULL;
	case ':':
		return "an option without its value";
	default:
		return "an unknown option";
	}
}

/* Returns what is wrong with the command line, or NULL; word is what it is about. */
static const char *parse(int argc, char **argv, struct options *options, const char **word)
{
	const char *wrong = NULL, *problem;
	int option;

	*word = "";
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		problem = parse_flag(options, option);
		if (problem && !wrong) {
			wrong = problem;
			*word = argv[optind - 1];
		}
	}

	if (wrong || options->help)
		return wrong;
	if (options->risk_panic && !options->force)
		return "--risk-panic counts with --force only";
	if (options->list)
		return optind == argc ? NULL : "--list takes no name";
	if (options->sweep && options->json)
		return "--sweep has no --json: take the names of --list one by one";
	if (options->sweep)
		return optind == argc ? NULL : "--sweep takes no name";
	if (optind == argc)
		return "no name given";
	if (optind + 1 < argc)
		return "want one name";

	*word = argv[optind];
	wrong = wrong_name(*word);
	if (!wrong)
		set_name(options, *word);

	return wrong;
}

/* A .ko that does not know a parameter ignores it: an --explain would rescue. */
static bool knows(const struct image *image, const char *parameter)
{
	char key[64];

	snprintf(key, sizeof(key), "parmtype=%s:", parameter);
	return image_info(image, key);
}

static int unknown_parameter(const struct image *image, const char *parameter)
{
	return report_end(USAGE, "usage", "%s has no parameter %s: build a newer one",
			  image->source, parameter);
}

static int end_of_load(const struct options *options, const struct image *image, int error)
{
	enum facts_state facts = facts_read();
	const char *refusal = facts_refusal();
	char reason[512];
	bool known, untouched;

	if (error == DIED)
		return report_end(FAILED, "failed",
				  "the rescue module itself died in the kernel, see dmesg");
	if (error == HANGS)
		return report_end(FAILED, "failed",
				  "not waiting for the rescue, which is still under way");
	if (error == EUCLEAN)
		return report_end(RETIRED, "retired", "%s", facts_retired() ? facts_retired() :
				  "it has another name now, and stays");
	if (error == ENOENT && is_built_in(options->name))
		return report_end(REFUSED, "refused", "%s is built into the kernel",
				  options->name);

	known = reason_of_load(error, image, reason, sizeof(reason)) || refusal;
	untouched = facts != FACTS_LOST && !facts_is_touched();
	if (comes_first(error, options->name) || (known && untouched))
		return report_end(REFUSED, "refused", "%s", refusal ? refusal : reason);

	return report_end(FAILED, "failed", "%s%s", refusal ? refusal : reason,
			  facts == FACTS_LOST ? "; how far it got was not told" : "");
}

static int end_of_explain(const char *name)
{
	const char *refusal;

	if (facts_read() != FACTS_WHOLE)
		return report_end(FAILED, "failed",
				  "%s was not touched, but what was found was not told", name);

	refusal = facts_refusal();
	if (refusal)
		return report_end(RESCUED, "explained", "%s would not be rescued: %s", name, refusal);

	return report_end(RESCUED, "explained", "%s was not touched", name);
}

static int remove_victim(const char *name)
{
	int error = calls_delete(name);

	switch (error) {
	case 0:
		return report_end(RESCUED, "rescued", "%s is removed", name);
	case ENOENT:
		return report_end(RESCUED, "rescued", "%s is gone: somebody else removed it", name);
	case DIED:
		return report_end(FAILED, "failed", "the kernel oopsed while it removed %s", name);
	case HANGS:
		return report_end(FAILED, "failed", "the removal of %s does not return", name);
	default:
		return report_end(FAILED, "failed", "%s cannot be removed: %s", name,
				  reason_of_delete(error));
	}
}

/* Whether addresses can be handed over for another try, at the end of the parameters. */
static bool can_help(const struct image *image, int error, char *parameters, size_t size)
{
	return error == EOPNOTSUPP && facts_read() == FACTS_WHOLE && facts_has_missing() &&
	       !facts_is_touched() && symbols_read(image, parameters, size);
}

/* By a rescue module of our own, which comes and goes. */
static int load(const struct options *options, const struct image *image)
{
	char parameters[MAX_NAME + MAX_SYMBOLS + 112];
	struct load load = { image, parameters };
	int loaded, unloaded, length;

	length = snprintf(parameters, sizeof(parameters), "target=%s report=%d%s%s%s%s",
			  options->name, facts_open(), options->force ? " force=1" : "",
			  options->risk_panic ? " risk_panic=1" : "",
			  options->explain ? " explain=1" : "", options->no_scan ? " scan=0" : "");
	report_note("%s: asking %s", options->name, image->source);
	calls_rescue(&load, &loaded, &unloaded);
	if (can_help(image, loaded, parameters + length, sizeof(parameters) - length)) {
		report_note("%s: once more, with the addresses in /proc/kallsyms", options->name);
		facts_open();
		calls_rescue(&load, &loaded, &unloaded);
	}
	/* It has told all, and is gone, since its removal would not return. */
	if (options->explain && loaded == ECANCELED)
		return 0;
	if (!loaded && unloaded)
		report_note("warning: the rescue module stays loaded: %s; rmmod " RESCUE,
			    unloaded < 0 ? "no answer" : reason_of_delete(unloaded));

	return loaded;
}

/* By the one that is loaded. */
static int ask(const struct options *options)
{
	const struct request request = {
		options->name, options->force, options->risk_panic, options->explain,
		options->no_scan, facts_open(),
	};

	report_note("%s: asking the guard that is loaded", options->name);
	return calls_ask(&request);
}

static int rescue(const struct options *options, const struct image *image)
{
	int error = image->data ? load(options, image) : ask(options);

	if (error)
		return end_of_load(options, image, error);
	if (options->explain)
		return end_of_explain(options->name);
	facts_read();
	if (calls_interrupted())
		return report_end(FAILED, "interrupted", "%s can be removed now: rmmod %s",
				  options->name, options->name);
	if (options->keep)
		return report_end(RESCUED, "removable", "%s can be removed now", options->name);

	return remove_victim(options->name);
}

static int check_image(const struct options *options, struct image *image)
{
	char why[1024];

	if (!image_find(image, options->module, why, sizeof(why)))
		return report_end(USAGE, "usage", "%s", why);
	if (options->explain && !knows(image, "explain"))
		return unknown_parameter(image, "explain");
	if (options->explain && !knows(image, "report"))
		return unknown_parameter(image, "report");
	if (options->force && !knows(image, "force"))
		return unknown_parameter(image, "force");
	if (options->risk_panic && !knows(image, "risk_panic"))
		return unknown_parameter(image, "risk_panic");
	if (options->no_scan && !knows(image, "scan"))
		return unknown_parameter(image, "scan");

	return 0;
}

/* What was retired is going for ever, under a name that no file has. */
struct retired {
	char name[MAX_NAME + 1];
	unsigned long size;
};

#define MAX_RETIRED 1024

static int find_retired(struct retired *all)
{
	FILE *file = fopen("/proc/modules", "re");
	char line[512], state[32];
	int count = 0;

	while (file && count < MAX_RETIRED && fgets(line, sizeof(line), file))
		if (sscanf(line, "%55s %lu %*s %*[^ ] %31s", all[count].name, &all[count].size,
			   state) == 3 &&
		    strchr(all[count].name, '~') && !strcmp(state, "Unloading"))
			count++;
	if (file)
		fclose(file);

	return count;
}

static int list_retired(void)
{
	static struct retired all[MAX_RETIRED];
	int i, count = find_retired(all);

	for (i = 0; i < count; i++)
		report_note("%s: %lu KiB", all[i].name, all[i].size / 1024);

	return report_end(RESCUED, "retired modules", "%d", count);
}

/* With what has a retired one's old name its types in sysfs would go, which have that name. */
static bool is_name_in_use(const char *retired)
{
	char path[MAX_NAME + 64];

	snprintf(path, sizeof(path), "/sys/module/%.*s/initstate",
		 (int)(strrchr(retired, '~') - retired), retired);
	return !access(path, F_OK);
}

/* By another of us: each is a case of its own. */
static bool sweep_one(const struct options *options, char *name)
{
	char *arguments[] = { RESCUE_PROGRAM, name, options->module ? "--module" : NULL,
			      (char *)options->module, NULL };
	int status;
	pid_t pid;

	if (is_name_in_use(name)) {
		report_note("%s: stays, as a module of its old name is loaded", name);
		return false;
	}

	fflush(stdout);
	pid = fork();
	if (!pid) {
		execv("/proc/self/exe", arguments);
		_exit(FAILED);
	}

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == RESCUED;
}

static int sweep(const struct options *options)
{
	static struct retired all[MAX_RETIRED];
	int i, count = find_retired(all), removed = 0;

	signal(SIGCHLD, SIG_DFL);	/* how each ends is asked */
	for (i = 0; i < count && !calls_interrupted(); i++)
		removed += sweep_one(options, all[i].name);

	return report_end(removed == count ? RESCUED : RETIRED, "swept", "%d removed, %d stay",
			  removed, count - removed);
}

static int run(const struct options *options)
{
	struct image image = { 0 };
	int wrong;

	if (options->list)
		return list_retired();
	if (options->sweep)
		return sweep(options);
	if (!strcmp(options->name, RESCUE))
		return report_end(REFUSED, "refused", "that is the rescue module itself");
	wrong = calls_guard_is_loaded() ? 0 : check_image(options, &image);
	if (wrong)
		return wrong;
	if (!calls_lock())
		return report_end(REFUSED, "refused", "another rescue is under way");

	log_open();
	if (calls_interrupted())
		return report_end(FAILED, "interrupted", "%s was not touched", options->name);

	return rescue(options, &image);
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	struct report_options report;
	const char *wrong, *word;

	calls_open_missing();
	calls_catch_signals();
	wrong = parse(argc, argv, &options, &word);
	report.json = options.json;
	report.target = options.name;
	report_begin(&report);

	if (wrong)
		return report_end(USAGE, "usage", "%s%s%s (--help tells more)", word,
				  *word ? ": " : "", wrong);
	if (options.help) {
		fputs(usage, stdout);
		return 0;
	}

	return run(&options);
}
