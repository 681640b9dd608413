// SPDX-License-Identifier: MIT
/*
 * What there is in the kernel that a module may have put there, a line each: see census.h. Looking at all of it takes
 * a tenth of a second under emulation; a shell would take many.
 *
 * A line is a kind, a blank and a name. The kind "path" stands for whatever has a name in /sys, /proc or /dev, a folder
 * ends with "/"; harness/kmod_harness/verdict/residue.py knows what that may be. The kinds "gone-..." lead to code
 * that is no more, "unread" is a table whose reader the kernel has killed. Lines of the kind "size" are printed always: KiB of memory.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "census.h"
#include "waiting.h"

#define DEEP 99
#define SLABS "/sys/kernel/slab"

static char **lines;
static size_t count, room;

static void add_line(char *line)
{
	if (count == room)
		lines = reallocarray(lines, room = room ? 2 * room : 4096, sizeof(*lines));
	if (!lines || !line) {
		perror("census");
		exit(1);
	}
	lines[count++] = line;
}

static void add(const char *kind, const char *name)
{
	char *line;

	add_line(asprintf(&line, "%s %s", kind, name) < 0 ? NULL : line);
}

/* The number after a word at the beginning of a line, of all lines that begin with it. */
static long sum_of(const char *path, const char *begin)
{
	FILE *file = fopen(path, "re");
	char line[512];
	long sum = 0;

	while (file && fgets(line, sizeof(line), file)) {
		char *at = line + strspn(line, " ");

		if (!strncmp(at, begin, strlen(begin)))
			sum += strtol(at + strlen(begin), NULL, 10);
	}
	if (file)
		fclose(file);
	return sum;
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

/* They have walks of their own, never end, or belong to processes. */
static const char *const apart[] = {
	"/sys/kernel/debug", "/sys/kernel/tracing", SLABS, "/sys/kernel/debug/tracing",
	"/proc/self", "/proc/thread-self", "/proc/net", "/proc/sys", "/dev/pts", NULL,
};

static int is_apart(const char *path)
{
	for (size_t i = 0; apart[i]; i++)
		if (!strcmp(path, apart[i]))
			return 1;
	return !strncmp(path, "/proc/", 6) && isdigit((unsigned char)path[6]);
}

static void walk(const char *folder, int depth)
{
	DIR *dir = opendir(folder);
	char path[4096];

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (is_apart(path) || entry->d_type == DT_LNK)
			continue; /* a link only leads to something */
		if (entry->d_type != DT_DIR) {
			add("path", path);
			continue;
		}
		if (depth > 1)
			walk(path, depth - 1);
		strncat(path, "/", sizeof(path) - strlen(path) - 1);
		add("path", path);
	}
	if (dir)
		closedir(dir);
}

static void walk_all(const void *folder)
{
	walk(folder, DEEP);
}

/* ---- tables in files of /proc ----------------------------------------------------------------------------------- */

struct table {
	const char *path, *kind;
	const char *begins; /* only lines that begin with this; NULL: all */
	int words; /* so many of a line, from the first one; 0: all */
};

static const struct table tables[] = {
	{ "/proc/iomem", "iomem", NULL, 0 },
	{ "/proc/ioports", "ioports", NULL, 0 },
	{ "/proc/filesystems", "filesystem", NULL, 0 },
	{ "/proc/net/protocols", "protocol", NULL, 1 },
	{ "/proc/crypto", "crypto", "driver", 0 },
	{ "/proc/bus/input/handlers", "input-handler", NULL, 0 },
	{ "/proc/tty/drivers", "tty-driver", NULL, 2 },
	{ "/proc/tty/ldiscs", "tty-discipline", NULL, 1 },
	{ "/proc/consoles", "console", NULL, 1 },
	{ "/sys/kernel/debug/kprobes/list", "kprobe", NULL, 0 },
};

/* The words of a line with one blank between them, at most so many. */
static char *words_of(char *line, int most)
{
	char *put = line, *save;

	for (char *word = strtok_r(line, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save)) {
		size_t length = strlen(word);

		if (put != line)
			*put++ = ' ';
		memmove(put, word, length);
		put += length;
		if (!--most)
			break;
	}
	*put = '\0';
	return line;
}

static void read_table(const void *what)
{
	const struct table *table = what;
	FILE *file = fopen(table->path, "re");
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0)
		if (!table->begins || !strncmp(line, table->begins, strlen(table->begins)))
			add(table->kind, words_of(line, table->words));
	free(line);
	if (file)
		fclose(file);
}

/*
 * An entry of a table may have its name in a module that is gone; who reads it is killed by the kernel. That shall
 * not be us.
 */
static void read_apart(void (*read_it)(const void *what), const void *what, const char *path)
{
	char *line = NULL;
	size_t size = 0, before = count;
	int ends[2], status;

	if (pipe(ends) < 0)
		return;
	if (fork() == 0) {
		read_it(what);
		FILE *out = fdopen(ends[1], "w");

		while (before < count)
			fprintf(out, "%s\n", lines[before++]);
		fclose(out);
		_exit(0);
	}
	close(ends[1]);
	FILE *in = fdopen(ends[0], "r");

	while (getline(&line, &size, in) > 0)
		add_line(strdup(strtok(line, "\n")));
	fclose(in);
	free(line);
	if (wait(&status) < 0 || status)
		add("unread", path);
}

/* Numbers for character devices first, then those for block devices, each kind under a heading. */
static void read_majors(void)
{
	FILE *file = fopen("/proc/devices", "re");
	const char *kind = "chrdev";
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "Block", 5))
			kind = "blkdev";
		if (isdigit((unsigned char)line[strspn(line, " ")]))
			add(kind, words_of(line, 0));
	}
	if (file)
		fclose(file);
}

/*
 * Caches that are alike are one; it is told as often as it counts. Each has a link of its own name to it, which may
 * stay for good: Linux mm/slub.c, sysfs_slab_alias().
 */
static void read_cache(const char *name, int is_link)
{
	char path[512], target[256];

	snprintf(path, sizeof(path), SLABS "/%s", name);
	if (is_link) {
		ssize_t length = readlink(path, target, sizeof(target) - 1);

		target[length > 0 ? length : 0] = '\0';
		snprintf(path, sizeof(path), "%.200s %.200s", target, name);
		add("cache-link", path);
		return;
	}
	strncat(path, "/aliases", sizeof(path) - strlen(path) - 1);
	for (long times = 1 + sum_of(path, ""); times > 0; times--)
		add("cache", name);
}

static void read_caches(void)
{
	DIR *dir = opendir(SLABS);

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (*entry->d_name != '.')
			read_cache(entry->d_name, entry->d_type == DT_LNK);
	if (dir)
		closedir(dir);
}

/* Of memory that code of modules has taken; where no symbol is known the kernel prints the bare address. */
static void read_memory(void)
{
	FILE *file = fopen("/proc/vmallocinfo", "re");
	char range[64], caller[256], module[64], line[1024];
	unsigned long size;

	while (file && fgets(line, sizeof(line), file)) {
		int words = sscanf(line, "%63s %lu %255s [%63[^]]", range, &size, caller, module);
		int is_gone = words >= 3 && !strncmp(caller, "0x", 2);

		if (is_gone || words == 4) {
			snprintf(line, sizeof(line), "%s %lu %s", range, size, caller);
			add(is_gone ? "gone-memory" : "memory", line);
		}
	}
	if (file)
		fclose(file);
}

/* " #0: <address>, function, S:01": the function is an address where no symbol is known. */
static void read_precise_timers(void)
{
	FILE *file = fopen("/proc/timer_list", "re");
	char line[512], address[64], function[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " #%*d: <%63[^>]>, %255[^,]", address, function) != 2)
			continue;
		int is_gone = !strncmp(function, "0x", 2);

		snprintf(line, sizeof(line), "%s %s", address, function);
		if (is_gone || strchr(function, '['))
			add(is_gone ? "gone-hrtimer" : "hrtimer", line);
	}
	if (file)
		fclose(file);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/*
 * Slabs have what kmalloc() gives, if it is large too. Pages are those that nobody else accounts for: what
 * alloc_pages() gives. Each CPU keeps some free ones.
 */
static void print_sizes(void)
{
	static const char *const used[] = {
		"MemFree:", "Buffers:", "Cached:", "AnonPages:", "Slab:", "KernelStack:", "PageTables:", "VmallocUsed:",
		"Percpu:",
	};
	long page = sysconf(_SC_PAGESIZE) / 1024;
	long pages = sum_of("/proc/meminfo", "MemTotal:") - page * sum_of("/proc/zoneinfo", "count:");

	for (size_t i = 0; i < sizeof(used) / sizeof(*used); i++)
		pages -= sum_of("/proc/meminfo", used[i]);
	printf("size slab %ld\n", sum_of("/proc/meminfo", "SUnreclaim:"));
	printf("size percpu %ld\n", sum_of("/proc/meminfo", "Percpu:"));
	printf("size pages %ld\n", pages);
	fflush(stdout); /* children inherit what is not */
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

/* Whether its stack cannot be followed to its beginning, since code of which the kernel knows nothing is between. */
static int is_lost(const char *pid)
{
	char path[64], line[512];
	int lost = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/stack", pid);
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file))
		lost = strstr(line, "ret_from_fork") == NULL;
	if (file)
		fclose(file);
	return lost;
}

/* Threads of the kernel have process 2 as parent. Its pool of workers comes and goes; rescuers stay. */
static void read_thread(const char *pid)
{
	char path[64], line[512];

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	FILE *file = fopen(path, "re");
	size_t length = file ? fread(line, 1, sizeof(line) - 1, file) : 0;

	if (file)
		fclose(file);
	line[length] = '\0';
	char *name = strchr(line, '('), *end = strrchr(line, ')'), state;
	int parent;

	if (!name || !end || sscanf(end, ") %c %d", &state, &parent) != 2 || parent != 2 || state == 'Z')
		return;
	*end = '\0';
	if (strncmp(name, "(kworker/", 9) || !strncmp(name, "(kworker/R-", 11))
		add("thread", name + 1);
	else if (is_lost(pid))
		add("gone-running", name + 1);
}

static void read_threads(void)
{
	DIR *dir = opendir("/proc");

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (isdigit((unsigned char)entry->d_name[0]))
			read_thread(entry->d_name);
	if (dir)
		closedir(dir);
}

/* ---- then and now ----------------------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static int save(const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file) {
		perror(path);
		return 1;
	}
	for (size_t i = 0; i < count; i++)
		fprintf(file, "%s\n", lines[i]);
	return fclose(file) ? 1 : 0;
}

/* Both are sorted; what is there twice and was there once is new. */
static int print_new(const char *path)
{
	FILE *file = fopen(path, "re");
	char *known = NULL;
	size_t size = 0, i = 0;

	if (!file) {
		perror(path);
		return 1;
	}
	while (getline(&known, &size, file) > 0) {
		known[strcspn(known, "\n")] = '\0';
		while (i < count && strcmp(lines[i], known) < 0)
			puts(lines[i++]);
		if (i < count && !strcmp(lines[i], known))
			i++;
	}
	while (i < count)
		puts(lines[i++]);
	fclose(file);
	return 0;
}

int census(const char *path, int only_new)
{
	char layout[4096];

	snprintf(layout, sizeof(layout), "%s.layout", path);
	print_sizes();
	walk("/sys", DEEP);
	walk("/sys/kernel/debug", DEEP);
	walk("/sys/kernel/tracing", 2);
	walk("/proc", DEEP);
	walk("/proc/net", DEEP);
	read_apart(walk_all, "/proc/sys", "/proc/sys");
	walk("/dev", DEEP);
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		read_apart(read_table, &tables[i], tables[i].path);
	read_majors();
	read_caches();
	read_memory();
	read_precise_timers();
	read_threads();
	read_waiting(layout, add);
	qsort(lines, count, sizeof(*lines), compare);
	return only_new ? print_new(path) : save(path);
}
