// SPDX-License-Identifier: MIT
/*
 * What a host must do in a guest before SSH can: give it this machine's keys, the right time, fresh randomness.
 * A guest that was cloned from a snapshot has its template's until then. Also the fast way to bring a file in.
 *
 * Speaks over the virtio-serial port "agent". All integers are 32-bit little-endian unless said otherwise.
 *   request: length of what follows, verb (1 byte), operand
 *   answer:  errno or 0, length of what follows, text
 *
 *   h                          answers the kernel's boot id
 *   t NANOSECONDS (64-bit)     sets the wall clock, counted from 1970
 *   r BYTES                    mixes the bytes into the random pool and reseeds from it
 *   w MODE OFFSET (64-bit) PATH \0 BYTES   writes into a file; with OFFSET 0 it is made anew
 *
 * Every request is answered: EMSGSIZE when it is longer than LARGEST_REQUEST, ENOMEM when there is no room for it.
 * What it complains of goes to the console.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LARGEST_REQUEST (16u << 20)
#define PORTS "/sys/class/virtio-ports"

static int port = -1;

static void receive(void *buffer, size_t size)
{
	for (char *at = buffer; size;) {
		ssize_t got = read(port, at, size);

		if (got > 0) {
			at += got;
			size -= got;
		} else {
			usleep(1000); /* the host has not connected yet */
		}
	}
}

static void send_all(const void *buffer, size_t size)
{
	for (const char *at = buffer; size;) {
		ssize_t put = write(port, at, size);

		if (put > 0) {
			at += put;
			size -= put;
		} else {
			usleep(1000);
		}
	}
}

static void answer(int error, const char *text)
{
	char frame[8 + 256];
	uint32_t head[2] = { error, strlen(text) };

	memcpy(frame, head, sizeof(head));
	memcpy(frame + sizeof(head), text, head[1]);
	send_all(frame, sizeof(head) + head[1]);
}

static void say_boot_id(void)
{
	char id[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	int error = read(fd, id, sizeof(id) - 1) < 0 ? errno : 0;

	close(fd);
	id[strcspn(id, "\n")] = '\0';
	answer(error, id);
}

static int set_clock(const char *operand)
{
	uint64_t nanoseconds;

	memcpy(&nanoseconds, operand, sizeof(nanoseconds));
	struct timespec now = { nanoseconds / 1000000000, nanoseconds % 1000000000 };

	return clock_settime(CLOCK_REALTIME, &now) < 0 ? errno : 0;
}

static int reseed(const char *bytes, size_t size)
{
	struct rand_pool_info *info = calloc(1, sizeof(*info) + size);
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	int error = 0;

	if (!info || fd < 0) {
		error = errno;
		free(info);
		close(fd);
		return error;
	}
	info->entropy_count = size * 8;
	info->buf_size = size;
	memcpy(info->buf, bytes, size);
	if (ioctl(fd, RNDADDENTROPY, info) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		error = errno;
	close(fd);
	free(info);
	return error;
}

static int write_file(const char *operand, size_t size)
{
	uint32_t mode;
	uint64_t offset;
	const char *path = operand + sizeof(mode) + sizeof(offset);
	const char *end = operand + size;
	const char *data = memchr(path, '\0', end - path);
	int error = 0;

	if (!data)
		return EINVAL;
	data++;
	memcpy(&mode, operand, sizeof(mode));
	memcpy(&offset, operand + sizeof(mode), sizeof(offset));
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (offset ? 0 : O_TRUNC), mode);

	if (fd < 0)
		return errno;
	while (data < end && !error) {
		ssize_t put = pwrite(fd, data, end - data, offset);

		if (put < 0) {
			error = errno;
		} else {
			data += put;
			offset += put;
		}
	}
	close(fd);
	return error;
}

static void serve(char *request, size_t size)
{
	const char *operand = request + 1;

	switch (request[0]) {
	case 'h':
		say_boot_id();
		break;
	case 't':
		answer(size < 9 ? EINVAL : set_clock(operand), "");
		break;
	case 'r':
		answer(reseed(operand, size - 1), "");
		break;
	case 'w':
		answer(size < 14 ? EINVAL : write_file(operand, size - 1), "");
		break;
	default:
		answer(ENOSYS, "");
	}
}

/* Which /dev/vport it is, only its name in /sys tells. */
static int open_port(void)
{
	DIR *ports = opendir(PORTS);
	char path[512], name[64];

	for (struct dirent *entry; ports && (entry = readdir(ports));) {
		snprintf(path, sizeof(path), PORTS "/%s/name", entry->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t length = fd < 0 ? 0 : read(fd, name, sizeof(name));

		close(fd);
		if (length == 6 && !memcmp(name, "agent\n", 6)) {
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			closedir(ports);
			return open(path, O_RDWR | O_CLOEXEC);
		}
	}
	if (ports)
		closedir(ports);
	return -1;
}

/* A request that cannot be served has to be read all the same: the next one comes behind it. */
static void refuse(size_t size, int error)
{
	char rest[4096];

	while (size) {
		size_t part = size < sizeof(rest) ? size : sizeof(rest);

		receive(rest, part);
		size -= part;
	}
	answer(error, "");
}

static void serve_next(void)
{
	uint32_t size;

	receive(&size, sizeof(size));
	if (size == 0 || size > LARGEST_REQUEST) {
		refuse(size, size ? EMSGSIZE : EINVAL);
		return;
	}

	char *request = malloc(size);

	if (!request) {
		refuse(size, ENOMEM);
		return;
	}
	receive(request, size);
	serve(request, size);
	free(request);
}

int main(void)
{
	for (int tries = 0; port < 0 && tries < 5000; tries++) {
		port = open_port();
		if (port < 0)
			usleep(1000);
	}
	if (port < 0) {
		fputs("harness: the agent has no port\n", stderr);
		return 1;
	}
	for (;;)
		serve_next();
}
