// SPDX-License-Identifier: MIT
/*
 * holder - has something open until it is killed
 *
 *	holder socket FAMILY	a socket of a family, by its number
 *	holder map PATH		a page of a file, which is itself closed again
 *	holder open PATH	a file, as descriptor 7
 *
 * Prints "ready" when it has it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int hold(const char *how, const char *what)
{
	int fd;

	if (!strcmp(how, "socket"))
		return socket(atoi(what), SOCK_RAW, 0) >= 0;

	fd = open(what, O_RDONLY);
	if (fd < 0)
		return 0;
	if (!strcmp(how, "open"))
		return dup2(fd, 7) == 7 && !close(fd);

	return mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED && !close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 3 || !hold(argv[1], argv[2])) {
		perror("holder");
		return 1;
	}

	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
