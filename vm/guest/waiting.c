// SPDX-License-Identifier: MIT
/*
 * Workqueues by name, and timers and delayed work whose function is in memory of a module that is gone: the kernel
 * has no file that tells these, so its own lists are read from /proc/kcore. Addresses are from /proc/kallsyms,
 * offsets from the kernel's BTF (Linux Documentation/bpf/btf.rst). Finding them takes half a second under emulation;
 * they are kept in a file. A kernel without one of these files is told as if nothing
 * waited in it.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "waiting.h"

#define MOST_BASES 4
#define MOST_IN_A_LIST 1000 /* a list that is being changed while it is read may lead anywhere */

/* Where things are in this kernel. */
struct layout {
	uint64_t text, text_end, per_cpu, timer_bases, behind_bases, workqueues, delayed_work_timer;
	uint32_t base_size, bases, vectors, vector_count; /* of struct timer_base, and how many of it a CPU has */
	uint32_t timer_entry, timer_function, delayed_work_timer_offset, work_function;
	uint32_t queue_list, queue_name;
};

/* ---- the kernel's memory ---------------------------------------------------------------------------------------- */

static int core = -1;
static Elf64_Phdr segments[64];
static int segment_count;

static int open_core(void)
{
	Elf64_Ehdr head;

	core = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	if (core < 0 || pread(core, &head, sizeof(head), 0) != sizeof(head) || head.e_phnum > 64)
		return -1;
	segment_count = head.e_phnum;
	ssize_t size = segment_count * sizeof(*segments);

	return pread(core, segments, size, head.e_phoff) == size ? 0 : -1;
}

/* 0 if all of it was read. */
static int peek(uint64_t address, void *buffer, size_t size)
{
	for (int i = 0; i < segment_count; i++) {
		const Elf64_Phdr *one = &segments[i];

		if (one->p_type == PT_LOAD && address >= one->p_vaddr && address + size <= one->p_vaddr + one->p_memsz)
			return pread(core, buffer, size, one->p_offset + address - one->p_vaddr) != (ssize_t)size;
	}
	return -1;
}

static uint64_t peek_word(uint64_t address)
{
	uint64_t word;

	return peek(address, &word, sizeof(word)) ? 0 : word;
}

/* ---- addresses and offsets -------------------------------------------------------------------------------------- */

static int find_symbols(struct layout *at)
{
	const struct { const char *name; uint64_t *address; } wanted[] = {
		{ "_stext", &at->text }, { "_etext", &at->text_end }, { "__per_cpu_offset", &at->per_cpu },
		{ "timer_bases", &at->timer_bases }, { "workqueues", &at->workqueues },
		{ "delayed_work_timer_fn", &at->delayed_work_timer },
	};
	size_t count = sizeof(wanted) / sizeof(*wanted), found = 0;
	FILE *file = fopen("/proc/kallsyms", "re");
	char line[1024];

	while (file && found < count && fgets(line, sizeof(line), file)) {
		char *name = line + strcspn(line, " ") + 3;

		name[strcspn(name, "\n\t")] = '\0';
		if (at->timer_bases && !at->behind_bases && strtoull(line, NULL, 16) > at->timer_bases)
			at->behind_bases = strtoull(line, NULL, 16); /* they are sorted by address */
		for (size_t i = 0; i < count; i++)
			if (!strcmp(name, wanted[i].name) && !*wanted[i].address) {
				*wanted[i].address = strtoull(line, NULL, 16);
				found += *wanted[i].address != 0;
			}
	}
	if (file)
		fclose(file);
	return found == count ? 0 : -1;
}

static char *btf;
static size_t btf_size;
static const struct btf_header *head;

static int read_btf(void)
{
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0 || !(btf = malloc(status.st_size)))
		return -1;
	for (ssize_t got; (got = read(fd, btf + btf_size, status.st_size - btf_size)) > 0;)
		btf_size += got;
	close(fd);
	head = (const void *)btf;
	return btf_size == (size_t)status.st_size && head->magic == BTF_MAGIC ? 0 : -1;
}

static const char *btf_name(uint32_t offset)
{
	return btf + head->hdr_len + head->str_off + offset;
}

/* How many bytes of a type follow its struct btf_type. */
static size_t rest_of(const struct btf_type *type)
{
	size_t count = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case 17: /* BTF_KIND_DECL_TAG, newer than some compilers' headers */
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case 19: /* BTF_KIND_ENUM64 */
		return count * 12;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return count * 8;
	default:
		return 0;
	}
}

typedef int visit_fn(const struct btf_type *type, uint32_t id, const void *what);

static const struct btf_type *find_type(visit_fn *visit, const void *what)
{
	const char *at = btf + head->hdr_len + head->type_off, *end = at + head->type_len;

	for (uint32_t id = 1; at + sizeof(struct btf_type) <= end; id++) {
		const struct btf_type *type = (const void *)at;

		if (visit(type, id, what))
			return type;
		at += sizeof(*type) + rest_of(type);
	}
	return NULL;
}

static int is_struct(const struct btf_type *type, uint32_t id, const void *name)
{
	(void)id;
	return BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT && !strcmp(btf_name(type->name_off), name);
}

static int has_id(const struct btf_type *type, uint32_t id, const void *wanted)
{
	(void)type;
	return id == *(const uint32_t *)wanted;
}

static const struct btf_member *find_member(const struct btf_type *type, const char *name)
{
	const struct btf_member *members = (const void *)(type + 1);

	for (size_t i = 0; i < BTF_INFO_VLEN(type->info); i++)
		if (!strcmp(btf_name(members[i].name_off), name))
			return &members[i];
	return NULL;
}

static int find_offsets(struct layout *at)
{
	const struct { const char *type, *member; uint32_t *offset; } wanted[] = {
		{ "timer_list", "entry", &at->timer_entry }, { "timer_list", "function", &at->timer_function },
		{ "delayed_work", "timer", &at->delayed_work_timer_offset }, { "work_struct", "func", &at->work_function },
		{ "workqueue_struct", "list", &at->queue_list }, { "workqueue_struct", "name", &at->queue_name },
		{ "timer_base", "vectors", &at->vectors },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		const struct btf_type *type = find_type(is_struct, wanted[i].type);
		const struct btf_member *member = type ? find_member(type, wanted[i].member) : NULL;

		if (!member)
			return -1;
		*wanted[i].offset = BTF_MEMBER_BIT_OFFSET(member->offset) / 8;
		if (wanted[i].offset == &at->vectors) {
			const struct btf_type *array = find_type(has_id, &member->type);

			at->base_size = type->size;
			at->vector_count = ((const struct btf_array *)(array + 1))->nelems;
		}
	}
	return 0;
}

static int is_bases(const struct btf_type *type, uint32_t id, const void *what)
{
	(void)id;
	(void)what;
	return BTF_INFO_KIND(type->info) == BTF_KIND_VAR && !strcmp(btf_name(type->name_off), "timer_bases");
}

/*
 * timer_bases is an array, one for each kind of timer: two, three since 6.9. BTF without variables (5.10) does not
 * tell; then the next symbol is behind it.
 */
static int count_bases(struct layout *at)
{
	const struct btf_type *variable = find_type(is_bases, NULL);
	const struct btf_type *array = variable ? find_type(has_id, &variable->type) : NULL;

	if (array && BTF_INFO_KIND(array->info) == BTF_KIND_ARRAY)
		at->bases = ((const struct btf_array *)(array + 1))->nelems;
	else
		at->bases = (at->behind_bases - at->timer_bases) / at->base_size;
	return at->bases > 0 && at->bases <= MOST_BASES ? 0 : -1;
}

static int find_layout(const char *path, struct layout *at)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, at, sizeof(*at)) == sizeof(*at)) {
		close(fd);
		return 0;
	}
	memset(at, 0, sizeof(*at));
	if (find_symbols(at) || read_btf() || find_offsets(at) || count_bases(at))
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, at, sizeof(*at)) != sizeof(*at))
		unlink(path);
	close(fd);
	return 0;
}

/* ---- what waits ------------------------------------------------------------------------------------------------- */

struct range {
	uint64_t start, end;
};

static struct range live[1024]; /* where the kernel's code and loaded modules are */
static size_t live_count;

static void read_live(const struct layout *at)
{
	FILE *file = fopen("/proc/modules", "re");
	unsigned long long size, address;
	char line[4096];

	live[live_count++] = (struct range){ at->text, at->text_end };
	while (file && live_count < 1024 && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %llu %*s %*s %*s %llx", &size, &address) == 2)
			live[live_count++] = (struct range){ address, address + size };
	if (file)
		fclose(file);
}

static int is_gone(uint64_t function)
{
	for (size_t i = 0; i < live_count; i++)
		if (function >= live[i].start && function < live[i].end)
			return 0;
	return 1;
}

/* Where a module's data is gone, so is the timer in it: 0 is read there. The function cannot be told then. */
static void read_timer(const struct layout *at, uint64_t timer, tell_fn *tell)
{
	uint64_t function = peek_word(timer + at->timer_function);
	int is_work = function == at->delayed_work_timer;
	char text[64];

	if (is_work)
		function = peek_word(timer - at->delayed_work_timer_offset + at->work_function);
	if (function >= at->text && function < at->text_end)
		return;
	snprintf(text, sizeof(text), "0x%llx 0x%llx", (unsigned long long)timer, (unsigned long long)function);
	if (is_gone(function))
		tell(is_work ? "gone-work" : "gone-timer", text);
	else
		tell(is_work ? "work" : "timer", text);
}

static void read_timers(const struct layout *at, tell_fn *tell)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t heads[at->vector_count];

	for (long cpu = 0; cpu < cpus; cpu++) {
		uint64_t base = peek_word(at->per_cpu + 8 * cpu) + at->timer_bases;

		for (uint32_t i = 0; i < at->bases; i++, base += at->base_size) {
			if (peek(base + at->vectors, heads, sizeof(heads)))
				continue;
			for (uint32_t vector = 0; vector < at->vector_count; vector++) {
				uint64_t entry = heads[vector];

				for (int left = MOST_IN_A_LIST; entry && left; left--, entry = peek_word(entry))
					read_timer(at, entry - at->timer_entry, tell);
			}
		}
	}
}

static void read_queues(const struct layout *at, tell_fn *tell)
{
	uint64_t entry = peek_word(at->workqueues);
	char name[32];

	for (int left = MOST_IN_A_LIST; entry && entry != at->workqueues && left; left--, entry = peek_word(entry)) {
		if (peek(entry - at->queue_list + at->queue_name, name, sizeof(name) - 1))
			return;
		name[sizeof(name) - 1] = '\0';
		tell("workqueue", name);
	}
}

void read_waiting(const char *layout_file, tell_fn *tell)
{
	struct layout layout;

	if (sizeof(void *) != 8 || open_core() || find_layout(layout_file, &layout))
		return;
	read_live(&layout);
	read_queues(&layout, tell);
	read_timers(&layout, tell);
}
