// SPDX-License-Identifier: GPL-2.0-only
/*
 * facts.c - what becomes known of a case, for people and for programs
 *
 * Each fact is a line of the kernel log. For programs all facts of the last case are
 * one JSON object, a key a line, in
 *
 *	/sys/module/force_rmmod/explain.json
 *
 * or, since a load that refuses leaves no file behind, in whatever the loader has open
 * with the descriptor that the parameter report names:
 *
 *	insmod force_rmmod.ko target=vms explain=1 report=3 3> vms.json
 *
 * docs/json.md describes the keys.
 *
 * Bytes of names that are not ASCII are told one by one (u00XX).
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "facts.h"

/* What stands in the log before the text, and at which level. */
static const struct {
	const char *words;
	bool error, warning;
} fr_topics[] = {
	[FR_TARGET] = { "target" },
	[FR_STATE] = { "state" },
	[FR_USED_BY] = { "used by" },
	[FR_USES] = { "uses" },
	[FR_HELD_BY] = { "held by", .error = true },
	[FR_REGISTERED] = { "registered" },
	[FR_OUTCOME] = { "outcome" },
	[FR_RETIRED] = { "retired", .warning = true },
	[FR_REFUSED] = { "refused", .error = true },
	[FR_STEP] = { "step" },
	[FR_UNDO] = { "undo" },
};

struct fr_fact {
	struct list_head list;
	unsigned int topic;
	const char *kind;	/* of a holder, or of what is registered; a constant */
	int pid, descriptor;	/* -1: none */
	char command[TASK_COMM_LEN];
	char *path;		/* NULL: none */
	char *text;
};

#define FR_REFCOUNT	100	/* topics that have lines of their own */
#define FR_MISSING	101

static LIST_HEAD(fr_facts);
static DEFINE_SPINLOCK(fr_facts_lock);
static bool fr_facts_open, fr_facts_lost;

/* ---- remembered ---- */

static void fr_fact_free(struct fr_fact *fact)
{
	kfree(fact->path);
	kfree(fact->text);
	kfree(fact);
}

static void fr_facts_forget(void)
{
	struct fr_fact *fact, *next;

	list_for_each_entry_safe(fact, next, &fr_facts, list)
		fr_fact_free(fact);
	INIT_LIST_HEAD(&fr_facts);
}

/* Takes text, which is NULL if there was no memory for it. */
static void fr_fact_add(unsigned int topic, const struct fr_holder *holder, char *text)
{
	struct fr_fact *fact = kzalloc(sizeof(*fact), GFP_ATOMIC);
	unsigned long flags;
	bool lost = !fact || !text;

	if (fact) {
		fact->topic = topic;
		fact->text = text;
		fact->kind = holder ? holder->kind : NULL;
		fact->pid = holder && holder->task ? task_pid_nr(holder->task) : -1;
		fact->descriptor = holder ? holder->descriptor : -1;
		if (holder && holder->task)
			strscpy(fact->command, holder->task->comm, sizeof(fact->command));
		if (holder && holder->path)
			fact->path = kstrdup(holder->path, GFP_ATOMIC);
		lost |= holder && holder->path && !fact->path;
	} else {
		kfree(text);
	}

	spin_lock_irqsave(&fr_facts_lock, flags);
	if (fr_facts_open && fact) {
		list_add_tail(&fact->list, &fr_facts);
		fact = NULL;
	}
	fr_facts_lost |= lost;
	spin_unlock_irqrestore(&fr_facts_lock, flags);
	if (fact)
		fr_fact_free(fact);
}

__printf(3, 0)
static void fr_tell_args(enum fr_topic topic, const struct fr_holder *holder, const char *format,
			 va_list args)
{
	struct va_format text = { .fmt = format };
	va_list copy;

	va_copy(copy, args);
	text.va = &copy;
	if (fr_topics[topic].error)
		pr_err("%s: %pV\n", fr_topics[topic].words, &text);
	else if (fr_topics[topic].warning)
		pr_warn("%s: %pV\n", fr_topics[topic].words, &text);
	else
		pr_info("%s: %pV\n", fr_topics[topic].words, &text);
	va_end(copy);

	if (READ_ONCE(fr_facts_open))
		fr_fact_add(topic, holder, kvasprintf(GFP_ATOMIC, format, args));
}

void fr_tell(enum fr_topic topic, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fr_tell_args(topic, NULL, format, args);
	va_end(args);
}

void fr_tell_holder(const struct fr_holder *holder, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fr_tell_args(FR_HELD_BY, holder, format, args);
	va_end(args);
}

void fr_tell_refcount(int count)
{
	pr_info("reference count: %d\n", count);
	if (READ_ONCE(fr_facts_open))
		fr_fact_add(FR_REFCOUNT, NULL, kasprintf(GFP_ATOMIC, "%d", count));
}

void fr_tell_registered(const char *kind, const char *text)
{
	const struct fr_holder words = { .kind = kind, .descriptor = -1 };

	pr_info("registered: %s: %s\n", kind, text);
	if (READ_ONCE(fr_facts_open))
		fr_fact_add(FR_REGISTERED, &words, kstrdup(text, GFP_ATOMIC));
}

void fr_tell_missing(const char *symbol)
{
	fr_tell(FR_REFUSED, "not found: %s, or not what this module knows it as", symbol);
	if (READ_ONCE(fr_facts_open))
		fr_fact_add(FR_MISSING, NULL, kstrdup(symbol, GFP_ATOMIC));
}

/* ---- as JSON ---- */

/* Written twice: without a buffer, to see how large it has to be, and into it. */
struct fr_text {
	char *at;
	size_t size, used;
};

__printf(2, 3)
static void fr_text_add(struct fr_text *text, const char *format, ...)
{
	bool room = text->used < text->size;
	va_list args;

	va_start(args, format);
	text->used += vsnprintf(room ? text->at + text->used : NULL,
				room ? text->size - text->used : 0, format, args);
	va_end(args);
}

static void fr_text_string(struct fr_text *text, const char *string)
{
	const unsigned char *c;

	fr_text_add(text, "\"");
	for (c = (const unsigned char *)string; *c; c++) {
		if (*c == '"' || *c == '\\')
			fr_text_add(text, "\\%c", *c);
		else if (*c < 0x20 || *c > 0x7e)
			fr_text_add(text, "\\u%04x", *c);
		else
			fr_text_add(text, "%c", *c);
	}
	fr_text_add(text, "\"");
}

static void fr_text_string_or_null(struct fr_text *text, const char *key, const char *string)
{
	fr_text_add(text, "\"%s\": ", key);
	if (string)
		fr_text_string(text, string);
	else
		fr_text_add(text, "null");
	fr_text_add(text, ", ");
}

static void fr_text_number_or_null(struct fr_text *text, const char *key, int number)
{
	if (number < 0)
		fr_text_add(text, "\"%s\": null, ", key);
	else
		fr_text_add(text, "\"%s\": %d, ", key, number);
}

static void fr_text_fact(struct fr_text *text, const struct fr_fact *fact)
{
	if (fact->topic == FR_HELD_BY || fact->topic == FR_REGISTERED) {
		fr_text_add(text, "{");
		fr_text_string_or_null(text, "kind", fact->kind);
		if (fact->topic == FR_HELD_BY) {
			fr_text_number_or_null(text, "pid", fact->pid);
			fr_text_string_or_null(text, "command",
					       fact->pid < 0 ? NULL : fact->command);
			fr_text_number_or_null(text, "descriptor", fact->descriptor);
			fr_text_string_or_null(text, "path", fact->path);
		}
		fr_text_add(text, "\"text\": ");
	}
	if (fact->topic == FR_REFCOUNT)
		fr_text_add(text, "%s", fact->text);
	else
		fr_text_string(text, fact->text);
	if (fact->topic == FR_HELD_BY || fact->topic == FR_REGISTERED)
		fr_text_add(text, "}");
}

static const struct fr_fact *fr_fact_find(unsigned int topic)
{
	const struct fr_fact *fact;

	list_for_each_entry(fact, &fr_facts, list)
		if (fact->topic == topic)
			return fact;

	return NULL;
}

static void fr_text_one(struct fr_text *text, const char *key, unsigned int topic)
{
	const struct fr_fact *fact = fr_fact_find(topic);

	fr_text_add(text, "\"%s\": ", key);
	if (fact)
		fr_text_fact(text, fact);
	else
		fr_text_add(text, "null");
	fr_text_add(text, ",\n");
}

static void fr_text_list(struct fr_text *text, const char *key, unsigned int topic)
{
	const struct fr_fact *fact;
	const char *comma = "";

	fr_text_add(text, "\"%s\": [", key);
	list_for_each_entry(fact, &fr_facts, list) {
		/* What is done are steps too; a case has the one or the other. */
		if (fact->topic != topic && !(topic == FR_STEP && fact->topic == FR_UNDO))
			continue;
		fr_text_add(text, "%s", comma);
		fr_text_fact(text, fact);
		comma = ", ";
	}
	fr_text_add(text, "],\n");
}

static void fr_text_write(struct fr_text *text)
{
	fr_text_add(text, "{\n");
	if (!fr_facts_lost) {
		fr_text_one(text, "target", FR_TARGET);
		fr_text_one(text, "state", FR_STATE);
		fr_text_one(text, "refcount", FR_REFCOUNT);
		fr_text_list(text, "used_by", FR_USED_BY);
		fr_text_list(text, "uses", FR_USES);
		fr_text_list(text, "holders", FR_HELD_BY);
		fr_text_list(text, "registered", FR_REGISTERED);
		fr_text_one(text, "rescue", FR_OUTCOME);
		fr_text_one(text, "retired", FR_RETIRED);
		fr_text_list(text, "refusals", FR_REFUSED);
		fr_text_list(text, "steps", FR_STEP);
		fr_text_list(text, "missing", FR_MISSING);
		fr_text_add(text, "\"touched\": %s,\n", fr_fact_find(FR_UNDO) ? "true" : "false");
	}
	fr_text_add(text, "\"complete\": %s\n}\n", fr_facts_lost ? "false" : "true");
}

/* ---- where programs find it ---- */

static DEFINE_MUTEX(fr_shown_lock);
static struct fr_text fr_shown;	/* of the last case */

static void fr_facts_hand_over(int descriptor, const char *text, size_t size)
{
	struct file *file = fget(descriptor);
	loff_t at = 0;
	ssize_t written;
	size_t done = 0;

	if (!file) {
		pr_warn("report: the descriptor %d is not open\n", descriptor);
		return;
	}

	while (done < size) {
		written = kernel_write(file, text + done, size - done, &at);
		if (written <= 0) {
			pr_warn("report: not written: %zd\n", written);
			break;
		}
		done += written;
	}
	fput(file);
}

static void fr_facts_show(void)
{
	struct fr_text text = { };

	fr_text_write(&text);
	text.size = text.used + 1;
	text.used = 0;
	text.at = kvmalloc(text.size, GFP_KERNEL);
	if (text.at)
		fr_text_write(&text);
	else
		text = (struct fr_text){ };

	kvfree(fr_shown.at);
	fr_shown = text;
}

void fr_facts_begin(void)
{
	fr_facts_lost = false;
	WRITE_ONCE(fr_facts_open, true);
}

void fr_facts_end(int descriptor)
{
	static const char lost[] = "{\n\"complete\": false\n}\n";
	unsigned long flags;

	/* Whoever has looked at it before may still be about to tell something. */
	spin_lock_irqsave(&fr_facts_lock, flags);
	fr_facts_open = false;
	spin_unlock_irqrestore(&fr_facts_lock, flags);

	mutex_lock(&fr_shown_lock);
	fr_facts_show();
	if (descriptor >= 0 && fr_shown.at)
		fr_facts_hand_over(descriptor, fr_shown.at, fr_shown.used);
	else if (descriptor >= 0)
		fr_facts_hand_over(descriptor, lost, sizeof(lost) - 1);
	mutex_unlock(&fr_shown_lock);
	fr_facts_forget();
}

static ssize_t fr_facts_read(struct file *file, struct kobject *kobj,
			     compat_bin_attribute *attr, char *buffer, loff_t offset,
			     size_t count)
{
	ssize_t got;

	mutex_lock(&fr_shown_lock);
	got = memory_read_from_buffer(buffer, count, &offset, fr_shown.at, fr_shown.used);
	mutex_unlock(&fr_shown_lock);

	return got;
}

static struct bin_attribute fr_facts_file = {
	.attr = { .name = "explain.json", .mode = 0400 },
	.read = fr_facts_read,
};

int fr_facts_init(void)
{
	return sysfs_create_bin_file(&THIS_MODULE->mkobj.kobj, &fr_facts_file);
}

/* Waits for who is reading. */
void fr_facts_exit(void)
{
	sysfs_remove_bin_file(&THIS_MODULE->mkobj.kobj, &fr_facts_file);
	kvfree(fr_shown.at);
}
