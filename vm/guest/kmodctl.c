// SPDX-License-Identifier: MIT
/*
 * The module system calls, raw, with the errno as the answer. insmod and rmmod hide which system call they make
 * and turn errors into prose; a verdict needs both.
 *
 *   kmodctl init FILE [PARAMETERS]            init_module(2)
 *   kmodctl finit FILE [PARAMETERS] [FLAGS]   finit_module(2)
 *   kmodctl delete NAME [FLAGS] [FILE]        delete_module(2); FLAGS: n (O_NONBLOCK), f (O_TRUNC: force);
 *                                             with FILE, if that worked, what `census FILE new` tells
 *   kmodctl kmsg [SEQUENCE]                   kernel log records from SEQUENCE on, as /dev/kmsg gives them
 *   kmodctl census FILE [new]                 what the kernel has, to FILE; or what it has and FILE has not (census.c)
 *   kmodctl open NAME NODE...                 opens each node of /dev once; prints "MAJOR BEFORE AFTER NODE" with the
 *                                             module's reference counts before and while it is open
 *   kmodctl bare VERB ...                     the same without CAP_SYS_MODULE
 *   kmodctl alarm VERB ...                    the same; a signal comes after a second
 *
 * @ADDRESS (hexadecimal) in place of FILE (init), NAME or PARAMETERS is handed over as it is, whatever lies
 * there. finit also takes fd=N, the descriptor N as it is, rw=FILE and w=FILE, opened for that; init takes
 * empty=FILE, its image with a size of 0.
 *
 * The system calls print the errno as a number, 0 for success, and exit with 0 or 1; wrong usage exits with 2.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "census.h"

static int answer(long result)
{
	printf("%d\n", result < 0 ? errno : 0);
	return result < 0;
}

/* The text itself, or the address that it names. */
static const char *pointer(const char *text)
{
	return *text == '@' ? (const char *)strtoull(text + 1, NULL, 16) : text;
}

/* What follows the prefix, or NULL when the text begins with something else. */
static const char *after(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(text, prefix, length) ? NULL : text + length;
}

static int open_as(const char *path, int mode)
{
	int fd = open(path, mode | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "kmodctl: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	return fd;
}

static int open_module(const char *file)
{
	const char *rest;

	if ((rest = after(file, "fd=")))
		return atoi(rest);
	if ((rest = after(file, "rw=")))
		return open_as(rest, O_RDWR);
	if ((rest = after(file, "w=")))
		return open_as(rest, O_WRONLY);
	return open_as(file, O_RDONLY);
}

static int load_by_image(const char *file, const char *parameters)
{
	const char *path = after(file, "empty=");

	if (*file == '@')
		return answer(syscall(SYS_init_module, pointer(file), 4096UL, pointer(parameters)));

	int fd = open_as(path ? path : file, O_RDONLY);
	struct stat status = { 0 };
	void *image = MAP_FAILED;

	if (!fstat(fd, &status))
		image = mmap(NULL, status.st_size + !status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (image == MAP_FAILED) {
		fprintf(stderr, "kmodctl: %s: %s\n", file, strerror(errno));
		exit(2);
	}
	unsigned long size = path ? 0 : status.st_size;

	close(fd);
	return answer(syscall(SYS_init_module, image, size, pointer(parameters)));
}

static int load_by_file(const char *file, const char *parameters, int flags)
{
	return answer(syscall(SYS_finit_module, open_module(file), pointer(parameters), flags));
}

static int delete(const char *name, const char *flags, const char *census_file)
{
	int value = (strchr(flags, 'n') ? O_NONBLOCK : 0) | (strchr(flags, 'f') ? O_TRUNC : 0);
	int failed = answer(syscall(SYS_delete_module, pointer(name), value));

	fflush(stdout);
	return failed || !census_file ? failed : census(census_file, 1);
}

static void drop_capability(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];

	if (syscall(SYS_capget, &header, sets) == 0) {
		sets[CAP_TO_INDEX(CAP_SYS_MODULE)].effective &= ~CAP_TO_MASK(CAP_SYS_MODULE);
		if (syscall(SYS_capset, &header, sets) == 0)
			return;
	}
	perror("kmodctl: capabilities");
	exit(2);
}

static void ignore(int number)
{
	(void)number;
}

/* A handler, since a signal that is ignored does not interrupt, and one without a handler kills. */
static void expect_alarm(void)
{
	struct sigaction action = { .sa_handler = ignore };

	sigaction(SIGALRM, &action, NULL);
	alarm(1);
}

static int print_log(unsigned long long from)
{
	char record[8192];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		perror("/dev/kmsg");
		return 1;
	}

	for (;;) {
		ssize_t length = read(fd, record, sizeof(record));

		if (length < 0 && errno == EPIPE) /* overwritten while we read: the next read gets the oldest left */
			continue;
		if (length <= 0)
			return 0;
		const char *comma = memchr(record, ',', length);

		if (comma && strtoull(comma + 1, NULL, 10) >= from)
			fwrite(record, 1, length, stdout);
	}
}

static int references(const char *module)
{
	char path[128];
	int count = -1;

	snprintf(path, sizeof(path), "/sys/module/%.64s/refcnt", module);
	FILE *file = fopen(path, "re");

	if (file) {
		if (fscanf(file, "%d", &count) != 1)
			count = -1;
		fclose(file);
	}
	return count;
}

static int open_nodes(const char *module, char **nodes)
{
	for (; *nodes; nodes++) {
		int before = references(module);
		int fd = open(*nodes, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		struct stat status;

		if (fd < 0)
			continue;
		if (!fstat(fd, &status))
			printf("%u %d %d %s\n", major(status.st_rdev), before, references(module), *nodes);
		close(fd);
	}
	return 0;
}

static int usage(void)
{
	fputs("usage: kmodctl [bare] [alarm] init|finit FILE [PARAMETERS] | delete NAME [FLAGS] [FILE] | kmsg [SEQUENCE]"
	      " | census FILE [new] | open NAME NODE...\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	for (; argc > 1; argc--, argv++) {
		if (!strcmp(argv[1], "bare"))
			drop_capability();
		else if (!strcmp(argv[1], "alarm"))
			expect_alarm();
		else
			break;
	}

	const char *verb = argc > 1 ? argv[1] : "";
	const char *third = argc > 3 ? argv[3] : "";

	if (!strcmp(verb, "kmsg"))
		return print_log(argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
	if (argc < 3)
		return usage();
	if (!strcmp(verb, "init"))
		return load_by_image(argv[2], third);
	if (!strcmp(verb, "finit"))
		return load_by_file(argv[2], third, argc > 4 ? atoi(argv[4]) : 0);
	if (!strcmp(verb, "delete"))
		return delete(argv[2], third, argc > 4 ? argv[4] : NULL);
	if (!strcmp(verb, "open"))
		return open_nodes(argv[2], argv + 3);
	if (!strcmp(verb, "census"))
		return census(argv[2], *third != '\0');
	fprintf(stderr, "kmodctl: unknown verb %s\n", verb);
	return 2;
}
