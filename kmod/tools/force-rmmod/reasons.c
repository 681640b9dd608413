// SPDX-License-Identifier: GPL-2.0-only
/*
 * reasons.c - why the kernel did not let us, as far as it can be found out
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"

#define CAP_SYS_MODULE 16

/* The first line of a file that begins with prefix, without both; false if there is none. */
static bool read_line(const char *path, const char *prefix, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool found = false;

	if (!file)
		return false;

	while (!found && fgets(line, size, file))
		found = !strncmp(line, prefix, strlen(prefix));
	fclose(file);
	if (!found)
		return false;

	line[strcspn(line, "\n")] = '\0';
	memmove(line, line + strlen(prefix), strlen(line + strlen(prefix)) + 1);
	return true;
}

static bool modules_are_disabled(void)
{
	char line[64];

	return read_line("/proc/sys/kernel/modules_disabled", "", line, sizeof(line)) &&
	       atoi(line) == 1;
}

static bool capability_is_missing(void)
{
	char line[128];

	return read_line("/proc/self/status", "CapEff:", line, sizeof(line)) &&
	       !(strtoull(line, NULL, 16) >> CAP_SYS_MODULE & 1);
}

/* The word in brackets of "none [integrity] confidentiality", if it is not "none". */
static bool is_locked_down(char *line, size_t size)
{
	char *start;

	if (!read_line("/sys/kernel/security/lockdown", "", line, size))
		return false;

	start = strchr(line, '[');
	if (!start || !strncmp(start, "[none]", 6))
		return false;

	memmove(line, start + 1, strlen(start));
	line[strcspn(line, "]")] = '\0';
	return true;
}

static void reason_of_eperm(char *text, size_t size)
{
	char line[128];

	if (modules_are_disabled())
		snprintf(text, size, "kernel.modules_disabled is 1: until the next boot no module "
			 "comes or goes");
	else if (capability_is_missing())
		snprintf(text, size, "the right to load modules (CAP_SYS_MODULE) is missing: "
			 "run this as root");
	else if (is_locked_down(line, sizeof(line)))
		snprintf(text, size, "the kernel is locked down (%s): it takes only modules signed "
			 "with a key it knows", line);
	else
		snprintf(text, size, "the kernel does not permit to load modules (a container, a "
			 "security module, or lockdown; dmesg may tell)");
}

static void reason_of_enoexec(const struct image *image, char *text, size_t size)
{
	const char *magic = image_info(image, "vermagic=");
	struct utsname system;

	uname(&system);
	snprintf(text, size, "%s is for another kernel: its vermagic is '%s', this is %s (%s)",
		 image->source, magic ? magic : "missing", system.release, system.machine);
}

static const char *plain_reason(int error)
{
	switch (error) {
	case EEXIST:
		return "another rescue is under way, or one was left: " RESCUE
		       " is loaded already; if nobody uses it: rmmod " RESCUE;
	case EKEYREJECTED:
		return "the kernel takes only signed modules (module.sig_enforce or lockdown), "
		       "and this one is not signed";
	case ENOKEY:
	case EBADMSG:
	case ENOPKG:
		return "the kernel takes only modules signed with a key it knows";
	case EINVAL:
		return "the kernel finds the rescue module or its parameters invalid (dmesg tells)";
	case ENOSYS:
		return "this kernel has no loadable modules";
	case ENOENT:
		return "no such module is loaded, or this kernel lacks a function that the "
		       "rescue module needs (dmesg tells)";
	case EBUSY:
		return "the module is in use";
	case EACCES:
		return "the right to ask the guard, or to load modules, is missing: run this as root";
	case ENODEV:
		return "the guard is about to leave";
	case EOPNOTSUPP:
		return "the rescue module does not know this kernel's internals";
	default:
		return NULL;
	}
}

bool reason_of_load(int error, const struct image *image, char *text, size_t size)
{
	const char *plain = plain_reason(error);

	if (error == EPERM)
		reason_of_eperm(text, size);
	else if (error == ENOEXEC)
		reason_of_enoexec(image, text, size);
	else
		snprintf(text, size, "%s", plain ? plain : strerror(error));

	return error == EPERM || error == ENOEXEC || plain;
}

/* The rest may also be what it met on the way. */
bool comes_first(int error, const char *name)
{
	char path[128];

	switch (error) {
	case EACCES:
	case EBADMSG:
	case EEXIST:
	case EKEYREJECTED:
	case ENOEXEC:
	case ENOKEY:
	case ENOPKG:
	case ENOSYS:
	case EPERM:
		return true;
	case ENOENT:
		snprintf(path, sizeof(path), "/sys/module/%s/initstate", name);
		return access(path, F_OK);
	default:
		return false;
	}
}

const char *reason_of_delete(int error)
{
	switch (error) {
	case EAGAIN:
		return "somebody uses it";
	case EBUSY:
		return "it is being loaded or removed";
	case EPERM:
		return "the right to remove modules is missing";
	default:
		return strerror(error);
	}
}

static bool is_listed(const char *list, const char *name)
{
	char line[512], *base, *c;
	FILE *file = fopen(list, "re");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		base = strrchr(line, '/');
		base = base ? base + 1 : line;
		base[strcspn(base, ".\n")] = '\0';
		for (c = base; *c; c++)
			if (*c == '-')
				*c = '_';
		found = !strcmp(base, name);
	}
	if (file)
		fclose(file);

	return found;
}

/* Those with parameters have a folder in sysfs too, but without a state. */
bool is_built_in(const char *name)
{
	char path[512];
	struct utsname system;

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (!access(path, F_OK)) {
		snprintf(path, sizeof(path), "/sys/module/%s/initstate", name);
		return access(path, F_OK);
	}

	uname(&system);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", system.release);
	return is_listed(path, name);
}
