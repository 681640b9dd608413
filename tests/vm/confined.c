// SPDX-License-Identifier: MIT
/*
 * Runs a command in a narrower world, for tests of what force-rmmod says about it:
 *
 *   confined powerless COMMAND...     without CAP_SYS_MODULE
 *   confined locked COMMAND...        while another process holds the lock on /proc/modules
 *   confined interrupted COMMAND...   with a SIGTERM that arrives before the first instruction
 *   confined nobody COMMAND...        as another user than root
 *   confined logless COMMAND...       without /dev/kmsg
 *   confined rivalled COMMAND...      while another process tries all the time to remove vms
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP_SYS_MODULE 16

static int confine(const char *how)
{
	sigset_t term;

	if (!strcmp(how, "powerless"))
		return prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE, 0, 0, 0);
	if (!strcmp(how, "nobody"))
		return setgid(65534) || setuid(65534);
	if (!strcmp(how, "locked"))
		return flock(open("/proc/modules", O_RDONLY), LOCK_EX);
	if (!strcmp(how, "logless"))
		return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		       mount("/proc/version", "/dev/kmsg", NULL, MS_BIND, NULL);
	if (!strcmp(how, "rivalled")) {
		if (fork())
			return 0;
		while (syscall(SYS_delete_module, "vms", O_NONBLOCK) && errno != ENOENT)
			;
		_exit(0);
	}
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	return raise(SIGTERM);
}

int main(int argc, char **argv)
{
	if (argc < 3 || confine(argv[1])) {
		perror("confined");
		return 99;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 99;
}
