// SPDX-License-Identifier: GPL-2.0-only
/*
 * report.c - what the guard has seen
 *
 *	/sys/module/force_rmmod/guard/report		text
 *	/sys/module/force_rmmod/guard/report.json	the same for programs
 *
 * Counters since the guard is there, and the last calls that died, oldest first, as
 * many as a page has room for:
 *
 *	{"guarded": "*", "modules": 5, "calls": 9, "died": 1, "stay": 0, "events": [
 *	 {"seconds": 12.345, "module": "vms", "call": "init",
 *	  "place": "vms_init+0x5c/0x1000 [vms]", "reason": "Oops",
 *	  "undone": "platform device vms, kept in vms_dev [vms]", "repaired": "",
 *	  "stays": ""}]}
 *
 * guarded: at most the first 255 characters of the list; modules: guarded now;
 * stay: calls that did not return, since something of the module may be in use for
 * ever; stays: the name that it has got then; seconds since boot.
 */
#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/timekeeping.h>

#include "guard/guard.h"

#define FR_EVENTS 8
#define FR_GUARDED_SIZE 256

struct fr_event {
	u64 seconds;	/* since boot */
	u32 milliseconds;
	char module[MODULE_NAME_LEN];
	const char *call;
	char place[80];
	char reason[32];
	char undone[160];
	char repaired[80];
	char stays[MODULE_NAME_LEN];
};

static DEFINE_MUTEX(fr_report_lock);
static struct fr_event fr_events[FR_EVENTS];	/* number n in place n % FR_EVENTS */
static unsigned int fr_died;
static atomic_t fr_report_calls = ATOMIC_INIT(0);
static unsigned int fr_stay;
static struct kobject *fr_report_folder;

void fr_report_call(void)
{
	atomic_inc(&fr_report_calls);
}

static const char *fr_report_or_nothing(const char *text)
{
	return *text ? text : "nothing";
}

/* Nothing in it that JSON would have to escape. */
static void fr_report_copy(char *to, const char *from, size_t size)
{
	strscpy(to, from, size);
	strreplace(to, '"', '\'');
	strreplace(to, '\\', '/');
	for (; *to; to++)
		if (!isascii(*to) || !isprint(*to))
			*to = ' ';
}

void fr_report_event(const struct fr_call *call, const char *name, const char *undone,
		     const char *stays)
{
	struct fr_event *event;

	mutex_lock(&fr_report_lock);
	event = &fr_events[fr_died++ % FR_EVENTS];
	event->seconds = div_u64_rem(ktime_to_ms(ktime_get_boottime()), MSEC_PER_SEC,
				     &event->milliseconds);
	event->call = call->what;
	fr_report_copy(event->module, name, sizeof(event->module));
	fr_report_copy(event->place, call->place, sizeof(event->place));
	fr_report_copy(event->reason, call->reason, sizeof(event->reason));
	fr_report_copy(event->undone, undone, sizeof(event->undone));
	fr_report_copy(event->repaired, call->repaired, sizeof(event->repaired));
	fr_report_copy(event->stays, stays, sizeof(event->stays));
	fr_stay += *stays != '\0';
	mutex_unlock(&fr_report_lock);
}

static unsigned int fr_report_first(void)
{
	return fr_died > FR_EVENTS ? fr_died - FR_EVENTS : 0;
}

/* Writes the counters and the events from first on; returns how much that is. */
typedef ssize_t fr_report_writer(char *buffer, unsigned int first);

/* The oldest events are left out if there is no room for all. */
static ssize_t fr_report_show(char *buffer, fr_report_writer *write)
{
	unsigned int first;
	ssize_t used;

	mutex_lock(&fr_report_lock);
	first = fr_report_first();
	used = write(buffer, first);
	while (used == PAGE_SIZE - 1 && first < fr_died)
		used = write(buffer, ++first);
	mutex_unlock(&fr_report_lock);

	return used;
}

static ssize_t fr_report_write(char *buffer, unsigned int first)
{
	char guarded[FR_GUARDED_SIZE];
	const struct fr_event *event;
	ssize_t used;
	unsigned int i;

	fr_report_copy(guarded, fr_guard_wanted(), sizeof(guarded));
	used = sysfs_emit(buffer, "guarded: %s\nmodules: %u\ncalls: %d\ndied: %u\nstay: %u\n",
			  guarded, fr_guard_count(), atomic_read(&fr_report_calls),
			  fr_died, fr_stay);
	for (i = first; i < fr_died; i++) {
		event = &fr_events[i % FR_EVENTS];
		used += sysfs_emit_at(buffer, used,
				      "%llu.%03u s: %s of %s died at %s (%s); undone: %s; repaired: %s%s%s\n",
				      event->seconds, event->milliseconds, event->call,
				      event->module, event->place, event->reason,
				      fr_report_or_nothing(event->undone),
				      fr_report_or_nothing(event->repaired),
				      *event->stays ? "; stays as " : "", event->stays);
	}

	return used;
}

static ssize_t report_show(struct kobject *kobj, struct kobj_attribute *attr, char *buffer)
{
	return fr_report_show(buffer, fr_report_write);
}

static ssize_t fr_report_write_json(char *buffer, unsigned int first)
{
	char guarded[FR_GUARDED_SIZE];
	const struct fr_event *event;
	const char *comma = "";
	ssize_t used;
	unsigned int i;

	fr_report_copy(guarded, fr_guard_wanted(), sizeof(guarded));
	used = sysfs_emit(buffer, "{\"guarded\": \"%s\", \"modules\": %u, \"calls\": %d, "
			  "\"died\": %u, \"stay\": %u, \"events\": [",
			  guarded, fr_guard_count(), atomic_read(&fr_report_calls),
			  fr_died, fr_stay);
	for (i = first; i < fr_died; i++, comma = ", ") {
		event = &fr_events[i % FR_EVENTS];
		used += sysfs_emit_at(buffer, used,
				      "%s{\"seconds\": %llu.%03u, \"module\": \"%s\", "
				      "\"call\": \"%s\", \"place\": \"%s\", \"reason\": \"%s\", "
				      "\"undone\": \"%s\", \"repaired\": \"%s\", \"stays\": \"%s\"}",
				      comma, event->seconds, event->milliseconds, event->module,
				      event->call, event->place, event->reason, event->undone,
				      event->repaired, event->stays);
	}
	used += sysfs_emit_at(buffer, used, "]}\n");

	return used;
}

static ssize_t report_json_show(struct kobject *kobj, struct kobj_attribute *attr, char *buffer)
{
	return fr_report_show(buffer, fr_report_write_json);
}

static struct kobj_attribute fr_report_text = __ATTR_RO(report);
static struct kobj_attribute fr_report_json = __ATTR(report.json, 0444, report_json_show, NULL);

static const struct attribute *fr_report_files[] = {
	&fr_report_text.attr,
	&fr_report_json.attr,
	NULL
};

int fr_report_init(void)
{
	int ret;

	fr_report_folder = kobject_create_and_add("guard", &THIS_MODULE->mkobj.kobj);
	if (!fr_report_folder)
		return -ENOMEM;

	ret = sysfs_create_files(fr_report_folder, (const struct attribute **)fr_report_files);
	if (ret)
		kobject_put(fr_report_folder);

	return ret;
}

/* Waits for who is reading. */
void fr_report_exit(void)
{
	kobject_put(fr_report_folder);
}
