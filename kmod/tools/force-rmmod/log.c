// SPDX-License-Identifier: GPL-2.0-only
/*
 * log.c - what force_rmmod says in the kernel log
 *
 * A read of /dev/kmsg gives one record: "priority,sequence,time,flags;text\n".
 * Records of other speakers are skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define LOG "/dev/kmsg"
#define PREFIX RESCUE ": "

static int log_fd = -1;

void log_open(void)
{
	log_fd = open(LOG, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log_fd >= 0 && lseek(log_fd, 0, SEEK_END) >= 0)
		return;

	report_note("warning: " LOG ": %s: what the rescue does cannot be shown", strerror(errno));
	if (log_fd >= 0)
		close(log_fd);
	log_fd = -1;
}

int log_descriptor(void)
{
	return log_fd;
}

static void log_record(char *record)
{
	char *text = strchr(record, ';');
	char *end;

	if (!text++)
		return;

	end = strchr(text, '\n');
	if (end)
		*end = '\0';
	if (!strncmp(text, PREFIX, strlen(PREFIX)))
		report_step(atoi(record) & 7, text + strlen(PREFIX));
}

void log_read(void)
{
	char record[8192];
	ssize_t len;

	while (log_fd >= 0) {
		len = read(log_fd, record, sizeof(record) - 1);
		if (len < 0 && errno == EPIPE)
			report_note("warning: the kernel log overran: some lines are missing");
		if (len < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (len <= 0)
			return;
		record[len] = '\0';
		log_record(record);
	}
}
