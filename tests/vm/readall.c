// SPDX-License-Identifier: MIT
/*
 * Reads every file below some folders to its end, as far as that can be done without waiting:
 *
 *   readall [-PATTERN]... FOLDER...
 *
 * Paths that match a pattern of the shell are left out, with all that is below them; '*' matches '/' too. What is
 * read is thrown away, and errors are no matter. A file that blocks all the same is named after ten seconds, and that is
 * the end. Otherwise prints how many files there were.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECONDS 10

static char path[PATH_MAX];
static char **patterns;
static int pattern_count;
static unsigned long files;

static void blocked(int number)
{
	(void)number;
	dprintf(STDOUT_FILENO, "blocks: %s\n", path);
	_exit(1);
}

static int is_left_out(void)
{
	for (int i = 0; i < pattern_count; i++)
		if (!fnmatch(patterns[i] + 1, path, 0))
			return 1;
	return 0;
}

static void read_file(void)
{
	static char buffer[65536];
	int fd;

	alarm(SECONDS);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
		;
	if (fd >= 0)
		close(fd);
	files++;
}

/* Of the folder in path, which is as it was afterwards. */
static void read_folder(void)
{
	size_t length = strlen(path);
	DIR *folder = opendir(path);
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(path + length, sizeof(path) - length, "/%s", entry->d_name);
		if (is_left_out())
			continue;
		if (entry->d_type == DT_DIR)
			read_folder();
		else if (entry->d_type == DT_REG)
			read_file();
	}
	if (folder)
		closedir(folder);
	path[length] = '\0';
}

int main(int argc, char **argv)
{
	signal(SIGALRM, blocked);
	patterns = argv + 1;
	while (1 + pattern_count < argc && *patterns[pattern_count] == '-')
		pattern_count++;
	for (int i = 1 + pattern_count; i < argc; i++) {
		snprintf(path, sizeof(path), "%s", argv[i]);
		read_folder();
	}
	printf("%lu\n", files);
	return 0;
}
