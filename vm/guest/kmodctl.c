// SPDX-License-Identifier: MIT
/*
 * The module system calls, raw, with the errno as the answer. insmod and rmmod hide which system call they make
 * and turn errors into prose; a verdict needs both.
 *
 *   kmodctl init FILE [PARAMETERS]            init_module(2)
 *   kmodctl finit FILE [PARAMETERS] [FLAGS]   finit_module(2)
 *   kmodctl delete NAME [FLAGS]               delete_module(2); FLAGS: n (O_NONBLOCK), f (O_TRUNC: force)
 *   kmodctl kmsg [SEQUENCE]                   kernel log records from SEQUENCE on, as /dev/kmsg gives them
 *
 * The system calls print the errno as a number, 0 for success, and exit with 0 or 1; wrong usage exits with 2.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int answer(long result)
{
	printf("%d\n", result < 0 ? errno : 0);
	return result < 0;
}

static int open_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "kmodctl: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	return fd;
}

static int load_by_image(const char *path, const char *parameters)
{
	int fd = open_module(path);
	struct stat status;

	fstat(fd, &status);
	void *image = mmap(NULL, status.st_size + !status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

	close(fd);
	return answer(syscall(SYS_init_module, image, (unsigned long)status.st_size, parameters));
}

static int load_by_file(const char *path, const char *parameters, int flags)
{
	return answer(syscall(SYS_finit_module, open_module(path), parameters, flags));
}

static int delete(const char *name, const char *flags)
{
	int value = (strchr(flags, 'n') ? O_NONBLOCK : 0) | (strchr(flags, 'f') ? O_TRUNC : 0);

	return answer(syscall(SYS_delete_module, name, value));
}

static int print_log(unsigned long long from)
{
	char record[8192];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

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

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	const char *third = argc > 3 ? argv[3] : "";

	if (!strcmp(verb, "kmsg"))
		return print_log(argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
	if (argc < 3) {
		fputs("usage: kmodctl init|finit FILE [PARAMETERS] | delete NAME [FLAGS] | kmsg [SEQUENCE]\n", stderr);
		return 2;
	}
	if (!strcmp(verb, "init"))
		return load_by_image(argv[2], third);
	if (!strcmp(verb, "finit"))
		return load_by_file(argv[2], third, argc > 4 ? atoi(argv[4]) : 0);
	if (!strcmp(verb, "delete"))
		return delete(argv[2], third);
	fprintf(stderr, "kmodctl: unknown verb %s\n", verb);
	return 2;
}
