// SPDX-License-Identifier: GPL-2.0-only
/*
 * calls.c - the system calls, each made by a child of ours
 *
 * An oops kills who made the call, and a call may never return; so that somebody
 * is left to tell, a child makes it. The child that loads the rescue module takes
 * it out again whatever becomes of us: it has a session of its own and blocks all
 * signals.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define LOCK "/proc/modules"
#define SYS_FOLDER "/sys/module/" RESCUE
#define UNLOAD_SECONDS 15
#define DELETE_SECONDS 60
#define NO_LIMIT (-1)

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

void calls_catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = count_signal };
	sigset_t none;
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		sigaction(numbers[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever reads our output may leave early */
	signal(SIGCHLD, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* So that nothing else of ours takes their numbers. */
void calls_open_missing(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

bool calls_interrupted(void)
{
	return signals;
}

/* On a file that is there on every board, and gone from memory with its last user. */
bool calls_lock(void)
{
	int fd = open(LOCK, O_RDONLY); /* inherited: a child may outlive us */

	return fd < 0 || !flock(fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK;
}

static int call_load(const struct load *load)
{
	long result = syscall(SYS_init_module, load->image->data,
			      (unsigned long)load->image->size, load->parameters);

	return result ? errno : 0;
}

static int call_delete(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? errno : 0;
}

/* Somebody who looks into /sys/module just now holds it for a moment. */
static int call_unload(void)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	int tries, error = 0;

	for (tries = 0; tries < 20; tries++) {
		error = call_delete(RESCUE);
		if (error != EAGAIN && error != EBUSY)
			break;
		nanosleep(&pause, NULL);
	}

	return error;
}

static void answer(int pipe_end, int error)
{
	while (write(pipe_end, &error, sizeof(error)) < 0 && errno == EINTR)
		;
}

/* In the child; data is a struct load, or the name of a module to remove. */
typedef void (*call_body)(int pipe_end, const void *data);

static void body_of_rescue(int pipe_end, const void *data)
{
	int error = call_load(data);

	answer(pipe_end, error);
	if (!error)
		answer(pipe_end, call_unload());
}

static int open_parameter(const char *parameter, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), SYS_FOLDER "/parameters/%s", parameter);
	return open(path, flags | O_CLOEXEC);
}

static int call_write(const char *parameter, const char *value)
{
	int fd = open_parameter(parameter, O_WRONLY);
	int error;

	if (fd < 0)
		return errno;

	error = write(fd, value, strlen(value)) < 0 ? errno : 0;
	close(fd);
	return error;
}

/* A parameter of the guard that is either Y or N. */
struct setting {
	const char *parameter;
	bool wanted;
	char before[2];
};

static int call_read(struct setting *setting)
{
	int fd = open_parameter(setting->parameter, O_RDONLY);
	ssize_t length;

	if (fd < 0)
		return errno;

	length = read(fd, setting->before, 1);
	close(fd);
	return length == 1 ? 0 : EIO;
}

/* The guard gets back what it had before this one request. */
static int call_request(const struct request *request)
{
	struct setting settings[] = {
		{ .parameter = "force", .wanted = request->force },
		{ .parameter = "risk_panic", .wanted = request->risk_panic },
		{ .parameter = "explain", .wanted = request->explain },
		{ .parameter = "scan", .wanted = !request->no_scan },
	};
	const size_t count = sizeof(settings) / sizeof(*settings);
	char report[16];
	int error = 0;
	size_t i, set;

	for (i = 0; i < count && !error; i++)
		error = call_read(&settings[i]);
	if (error)
		return error;

	for (set = 0; set < count && !error; set++)
		error = call_write(settings[set].parameter, settings[set].wanted ? "1" : "0");
	snprintf(report, sizeof(report), "%d", request->report);
	if (!error)
		error = call_write("report", report);
	if (!error)
		error = call_write("target", request->name);
	for (i = 0; i < set; i++)
		call_write(settings[i].parameter, settings[i].before);

	return error;
}

static void body_of_request(int pipe_end, const void *data)
{
	answer(pipe_end, call_request(data));
}

static void body_of_delete(int pipe_end, const void *data)
{
	answer(pipe_end, call_delete(data));
}

/* It may outlive us; who waits for the end of our output is not to wait for it. */
static void let_go_of_output(void)
{
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
}

/* Returns where its answers can be read, or -1. */
static int start(call_body body, const void *data)
{
	sigset_t all;
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC))
		return -1;

	child = fork();
	if (!child) {
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		setsid();
		close(ends[0]);
		let_go_of_output();
		body(ends[1], data);
		_exit(0);
	}

	close(ends[1]);
	if (child > 0)
		return ends[0];

	close(ends[0]);
	return -1;
}

static void say_interrupted(void)
{
	static bool said;

	if (signals && !said) {
		said = true;
		report_note("interrupted: waiting for the kernel, so that nothing stays half done; "
			    "once more to leave it alone");
	}
}

/* Seconds of a clock that nobody sets. */
static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

/* The next answer of a child: an errno, DIED or HANGS. Shows the log meanwhile. */
static int wait_for(int pipe_end, int seconds)
{
	time_t end = now() + seconds;
	int error;

	for (;;) {
		struct pollfd sources[] = {
			{ .fd = pipe_end, .events = POLLIN },
			{ .fd = log_descriptor(), .events = POLLIN },
		};

		poll(sources, 2, 500);
		log_read();
		if (sources[0].revents && read(pipe_end, &error, sizeof(error)) == sizeof(error))
			return error;
		if (sources[0].revents)
			return DIED;
		say_interrupted();
		if (signals > 1 || (seconds != NO_LIMIT && now() > end))
			return HANGS;
	}
}

void calls_rescue(const struct load *load, int *loaded, int *unloaded)
{
	int pipe_end = start(body_of_rescue, load);

	*unloaded = 0;
	*loaded = pipe_end < 0 ? errno : wait_for(pipe_end, NO_LIMIT);
	if (!*loaded)
		*unloaded = wait_for(pipe_end, UNLOAD_SECONDS);
	log_read();
	close(pipe_end);
}

int calls_delete(const char *name)
{
	int pipe_end = start(body_of_delete, name);
	int error;

	if (pipe_end < 0)
		return errno;

	error = wait_for(pipe_end, DELETE_SECONDS);
	close(pipe_end);
	return error;
}

bool calls_guard_is_loaded(void)
{
	return !access(SYS_FOLDER "/guard", F_OK);
}

int calls_ask(const struct request *request)
{
	int pipe_end = start(body_of_request, request);
	int error;

	if (pipe_end < 0)
		return errno;

	error = wait_for(pipe_end, NO_LIMIT);
	log_read();
	close(pipe_end);
	return error;
}
