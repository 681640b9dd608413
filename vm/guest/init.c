// SPDX-License-Identifier: MIT
/*
 * The first process of the virtual machine: mounts the pseudo file systems, loads the kernel modules that the
 * machine itself needs (/boot-modules/order, one file name a line), mounts the rest of them for modprobe, brings the
 * network up, starts our agent and the SSH server and then only reaps children. It is a static program because a
 * shell script costs 0.7 s under emulation.
 *
 * What appears on the console: "harness: ready" once SSH connections are accepted, or
 * "harness: cannot <what>: <errno text>" for what failed; init goes on as far as it can.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODULE_FOLDER "/boot-modules"
/*
 * A driver that asks user space for its firmware waits until somebody answers, and here nobody does. This tells it at
 * once that there is none (Linux Documentation/driver-api/firmware/fallback-mechanisms.rst). It exists where
 * CONFIG_FW_LOADER_USER_HELPER is on; other kernels never ask.
 */
#define NO_FIRMWARE_HELPER "/proc/sys/kernel/firmware_config/ignore_sysfs_fallback"
#define SSH_LISTENS ":0016 00000000:0000 0A" /* /proc/net/tcp: port 22, state LISTEN */

static void complain(const char *what, const char *object)
{
	fprintf(stderr, "harness: cannot %s %s: %s\n", what, object, strerror(errno));
}

static void mount_one(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL) < 0)
		complain("mount", where);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	setvbuf(stdout, NULL, _IONBF, 0);
}

static void load_modules(void)
{
	FILE *order = fopen(MODULE_FOLDER "/order", "re");
	char name[256], path[512];

	if (!order)
		return;
	while (fgets(name, sizeof(name), order)) {
		name[strcspn(name, "\n")] = '\0';
		snprintf(path, sizeof(path), MODULE_FOLDER "/%s", name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			complain("load", path);
		if (fd >= 0)
			close(fd);
	}
	fclose(order);
}

/* The kernel's own modules with modprobe's indexes: read-only, since all copies of the machine share it. */
static void mount_modules(void)
{
	struct utsname name;
	char folder[sizeof(name.release) + 16];

	uname(&name);
	snprintf(folder, sizeof(folder), "/lib/modules/%s", name.release);
	mkdir("/lib/modules", 0755);
	mkdir(folder, 0755);
	if (mount("/dev/vda", folder, "squashfs", MS_RDONLY, NULL) < 0)
		complain("mount", folder);
}

static void bring_up(const char *name, const char *address, const char *mask)
{
	struct ifreq request = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	in->sin_family = AF_INET;
	inet_aton(address, &in->sin_addr);
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		complain("give an address to", name);
	inet_aton(mask, &in->sin_addr);
	if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
		complain("set the netmask of", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		complain("read the flags of", name);
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		complain("bring up", name);
	close(fd);
}

static void start(char *const argv[])
{
	if (fork() != 0)
		return;
	setsid();
	execv(argv[0], argv);
	complain("start", argv[0]);
	_exit(127);
}

static int ssh_server_listens(void)
{
	char table[4096];
	int fd = open("/proc/net/tcp", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, table, sizeof(table) - 1);

	close(fd);
	table[length > 0 ? length : 0] = '\0';
	return strstr(table, SSH_LISTENS) != NULL;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		complain("write", path);
	close(fd);
}

int main(void)
{
	const struct timespec pause_1ms = { .tv_nsec = 1000000 };
	char *const agent[] = { "/bin/agent", NULL };
	/*
	 * -F stay in the foreground, -s keys only, -j -k no forwarding, -W large receive window: a module is sent
	 * in one go. -R: the host key is read when a client connects, by then the agent has brought it.
	 */
	char *const ssh_server[] = { "/usr/sbin/dropbear", "-F", "-s", "-j", "-k", "-R", "-W", "1000000", "-p", "22", NULL };

	mount_one("devtmpfs", "/dev");
	open_console();
	mount_one("proc", "/proc");
	mount_one("sysfs", "/sys");
	mount_one("devpts", "/dev/pts");
	mount_one("tmpfs", "/tmp");
	mount_one("debugfs", "/sys/kernel/debug");
	mount_one("tracefs", "/sys/kernel/tracing");
	load_modules();
	mount_modules();
	if (access(NO_FIRMWARE_HELPER, W_OK) == 0)
		write_file(NO_FIRMWARE_HELPER, "1");
	bring_up("lo", "127.0.0.1", "255.0.0.0");
	bring_up("eth0", "10.0.2.15", "255.255.255.0");
	start(agent);
	start(ssh_server);
	for (int tries = 0; tries < 10000 && !ssh_server_listens(); tries++)
		nanosleep(&pause_1ms, NULL);
	/* From here on the console shows every message: it is the evidence when the machine dies. */
	write_file("/proc/sys/kernel/printk", "8 4 1 7\n");
	puts(ssh_server_listens() ? "harness: ready" : "harness: cannot start the SSH server");
	for (;;)
		if (wait(NULL) < 0 && errno == ECHILD)
			pause();
}
