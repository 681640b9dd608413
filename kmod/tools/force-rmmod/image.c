// SPDX-License-Identifier: GPL-2.0-only
/*
 * image.c - the rescue module: carried by the program, or in a file
 *
 * What is carried lies behind the program's own bytes, and behind it a trailer
 * of 32 bytes: "force_rmmod.ko ", its size in 16 decimal digits, a line feed.
 * The loader of programs ignores what lies behind; printf(1) can write it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"

#define TRAILER_NAME RESCUE ".ko "
#define TRAILER_SIZE 32
#define SELF "/proc/self/exe"

/* Reads size bytes at offset into the image. */
static bool image_read(struct image *image, int fd, off_t offset, size_t size)
{
	size_t done = 0;
	ssize_t n;

	image->data = malloc(size + 1);
	image->size = size;
	while (image->data && done < size) {
		n = pread(fd, (char *)image->data + done, size - done, offset + done);
		if (n <= 0)
			return false;
		done += n;
	}

	return image->data;
}

static bool image_carried(struct image *image)
{
	int fd = open(SELF, O_RDONLY | O_CLOEXEC);
	char trailer[TRAILER_SIZE + 1] = "";
	struct stat status;
	size_t size = 0;
	bool found = false;

	if (fd < 0)
		return false;

	if (!fstat(fd, &status) && status.st_size > TRAILER_SIZE &&
	    pread(fd, trailer, TRAILER_SIZE, status.st_size - TRAILER_SIZE) == TRAILER_SIZE &&
	    !strncmp(trailer, TRAILER_NAME, strlen(TRAILER_NAME)))
		size = strtoul(trailer + strlen(TRAILER_NAME), NULL, 10);

	if (size && size < (size_t)status.st_size - TRAILER_SIZE)
		found = image_read(image, fd, status.st_size - TRAILER_SIZE - size, size);
	if (found)
		snprintf(image->source, sizeof(image->source), "the carried " RESCUE ".ko");

	close(fd);
	return found;
}

/* errno tells why not. */
static bool image_file(struct image *image, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	bool done;

	if (fd < 0)
		return false;

	errno = EINVAL;
	done = !fstat(fd, &status) && S_ISREG(status.st_mode) &&
	       image_read(image, fd, 0, status.st_size);
	close(fd);
	snprintf(image->source, sizeof(image->source), "%s", path);
	return done;
}

static bool image_beside(struct image *image)
{
	char path[PATH_MAX + sizeof(RESCUE ".ko")];
	ssize_t len = readlink(SELF, path, PATH_MAX);
	char *slash;

	if (len < 0)
		return false;

	path[len] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return false;

	strcpy(slash + 1, RESCUE ".ko");
	return image_file(image, path);
}

static bool image_installed(struct image *image)
{
	static const char *const folders[] = { "extra", "updates", "updates/dkms" };
	char path[PATH_MAX];
	struct utsname system;
	size_t i;

	uname(&system);
	for (i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "/lib/modules/%s/%s/" RESCUE ".ko", system.release,
			 folders[i]);
		if (image_file(image, path))
			return true;
	}

	return false;
}

const char *image_info(const struct image *image, const char *key)
{
	return image_next_info(image, key, NULL);
}

const char *image_next_info(const struct image *image, const char *key, const char *found)
{
	const char *start = image->data, *end = start + image->size;
	size_t len = strlen(key);

	if (!found)
		found = start;

	/* Each line of .modinfo follows a NUL: the one that ended the line before. */
	while ((found = memmem(found, end - found, key, len))) {
		if (found > start && !found[-1] && memchr(found, '\0', end - found))
			return found + len;
		found++;
	}

	return NULL;
}

static bool image_is_right(const struct image *image, char *why, size_t size)
{
	const char *name;

	if (image->size < 4 || memcmp(image->data, "\177ELF", 4)) {
		snprintf(why, size, "%s is no kernel module, or a compressed one: unpack it first",
			 image->source);
		return false;
	}

	name = image_info(image, "name=");
	if (!name || strcmp(name, RESCUE)) {
		snprintf(why, size, "%s is not the rescue module, but %s", image->source,
			 name ? name : "no module at all");
		return false;
	}

	return true;
}

bool image_find(struct image *image, const char *path, char *why, size_t size)
{
	if (path && !image_file(image, path)) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return false;
	}

	if (!path && !image_carried(image) && !image_beside(image) && !image_installed(image)) {
		snprintf(why, size, "no " RESCUE ".ko is found: none is appended to this program, "
			 "none lies beside it or below /lib/modules; give one with --module");
		return false;
	}

	return image_is_right(image, why, size);
}
