// SPDX-License-Identifier: GPL-2.0-only
/*
 * words.c - the words of the victim's writable data, and those of its journal
 *
 * The journal of a guarded call has what the victim keeps nowhere, and when each
 * object was registered.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "victim/victim.h"

static bool fr_words_is_header(const struct module *victim, const unsigned long *word)
{
	return (void *)word >= (void *)victim && (void *)word < (void *)(victim + 1);
}

static int fr_words_each_of_data(struct fr_rescue *rescue, fr_word_fn *fn, void *data)
{
	static const enum mod_mem_type types[] = { MOD_DATA, MOD_RO_AFTER_INIT, MOD_INIT_DATA };
	unsigned long *word, *end;
	size_t i, size;
	int ret;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		word = compat_module_mem(rescue->victim, types[i], &size);
		if (!word)
			continue;

		word = PTR_ALIGN(word, sizeof(*word));
		for (end = word + size / sizeof(*word); word < end; word++) {
			/* What the loader keeps about the victim lies there too. */
			if (fr_words_is_header(rescue->victim, word))
				continue;

			ret = fn(rescue, word, data);
			if (ret)
				return ret;
		}
	}

	return 0;
}

static int fr_words_each_of_journal(struct fr_rescue *rescue, fr_word_fn *fn, void *data)
{
	struct fr_journal *journal = rescue->journal;
	unsigned int i;
	int ret = 0;

	for (i = 0; journal && i < journal->count && !ret; i++)
		if (journal->words[i])
			ret = fn(rescue, &journal->words[i], data);

	return ret;
}

int fr_words_each(struct fr_rescue *rescue, fr_word_fn *fn, void *data)
{
	int ret = fr_words_each_of_data(rescue, fn, data);

	return ret ? ret : fr_words_each_of_journal(rescue, fn, data);
}

struct fr_wanted {
	unsigned long value;
	unsigned long *word;
};

static int fr_words_is_wanted(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	struct fr_wanted *wanted = data;

	if (*word != wanted->value)
		return 0;

	wanted->word = word;
	return 1;
}

unsigned long *fr_words_find(struct fr_rescue *rescue, unsigned long value)
{
	struct fr_wanted wanted = { .value = value };

	fr_words_each(rescue, fr_words_is_wanted, &wanted);
	return wanted.word;
}

/* By a mapping of its own: it may stand in memory that cannot be written to any more. */
static int fr_words_write_zero(unsigned long *word)
{
	struct page *page = vmalloc_to_page(word);
	void *alias = page ? vmap(&page, 1, VM_MAP, PAGE_KERNEL) : NULL;

	if (!alias)
		return -ENOMEM;

	WRITE_ONCE(*(unsigned long *)(alias + offset_in_page(word)), 0);
	vunmap(alias);
	return 0;
}

static int fr_words_clear_one(struct fr_rescue *rescue, unsigned long *word, void *data)
{
	return *word == *(unsigned long *)data ? fr_words_write_zero(word) : 0;
}

int fr_words_clear(struct fr_rescue *rescue, unsigned long value)
{
	return fr_words_each(rescue, fr_words_clear_one, &value);
}

unsigned int fr_words_serial(const struct fr_rescue *rescue, const void *object)
{
	const struct fr_journal *journal = rescue->journal;
	unsigned int i = journal ? journal->count : 0;

	while (i && journal->objects[i - 1] != (unsigned long)object)
		i--;

	return i;
}
