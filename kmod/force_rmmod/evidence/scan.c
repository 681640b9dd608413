// SPDX-License-Identifier: GPL-2.0-only
/*
 * scan.c - every word of memory that leads into the victim
 *
 * All that the direct map shows of the machine's memory is read once, but for
 * what is free, what belongs to programs and what caches files. The words whose
 * value lies in the victim are remembered by their place, until fr_scan_forget();
 * whoever looks at them later has to see whether they still do.
 *
 * Left out are the victim's own memory, ours, and the stacks of the living, which
 * references.c judges. Memory may go away while it is read: reads that may fail.
 */
#include <linux/bsearch.h>
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#include "evidence/evidence.h"
#include "evidence/world.h"
#include "facts.h"
#include "kernel/kernel.h"
#include "victim/victim.h"

#define FR_SCAN_LIMIT 65536
#define FR_SCAN_SIZE (FR_SCAN_LIMIT * sizeof(unsigned long *))
/* Free blocks are not larger in any version. */
#define FR_SCAN_ORDER 11

/* Numbers of pages. */
struct fr_frames {
	unsigned long *numbers;
	size_t count, limit;
};

/* What is wanted lies in two places: where modules are, and in the direct map. */
enum { FR_SCAN_MODULES, FR_SCAN_DIRECT, FR_SCAN_PLACES };

struct fr_scan {
	struct fr_rescue *rescue;
	const struct fr_extents *wanted;
	struct {
		unsigned long low, span;
	} places[FR_SCAN_PLACES];
	struct fr_frames skipped;
	unsigned long **words;		/* that lead there */
	size_t count, limit;
	unsigned long *buffer;		/* one page */
	unsigned long pages;		/* read so far */
};

/* ---- pages to be left out ---- */

static void fr_scan_skip(struct fr_frames *frames, const void *start, size_t size)
{
	const void *address = (const void *)((unsigned long)start & PAGE_MASK);
	struct page *page;

	for (; start && size && address < start + size; address += PAGE_SIZE) {
		if (frames->count == frames->limit)
			return;
		page = virt_addr_valid(address) ? virt_to_page(address) : vmalloc_to_page(address);
		if (page)
			frames->numbers[frames->count++] = page_to_pfn(page);
	}
}

static size_t fr_scan_module_pages(const struct module *mod)
{
	size_t size, count = 0;
	int type;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++)
		if (compat_module_mem(mod, type, &size))
			count += size / PAGE_SIZE + 2;

	return count;
}

static void fr_scan_skip_module(struct fr_frames *frames, const struct module *mod)
{
	size_t size;
	void *base;
	int type;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++) {
		base = compat_module_mem(mod, type, &size);
		fr_scan_skip(frames, base, size);
	}
}

static int fr_scan_compare(const void *left, const void *right)
{
	unsigned long a = *(const unsigned long *)left, b = *(const unsigned long *)right;

	return a < b ? -1 : a > b;
}

static int fr_scan_skip_all(struct fr_scan *scan, const void *ours, size_t size)
{
	struct fr_frames *frames = &scan->skipped;
	struct task_struct *process, *task;

	rcu_read_lock();
	for_each_process_thread(process, task)
		frames->limit += THREAD_SIZE / PAGE_SIZE;
	rcu_read_unlock();
	/* Some for tasks that come meanwhile. */
	frames->limit += frames->limit / 4 + 64 + (size + FR_SCAN_SIZE) / PAGE_SIZE + 4;
	frames->limit += fr_scan_module_pages(scan->rescue->victim) +
			 fr_scan_module_pages(THIS_MODULE);
	frames->numbers = kvmalloc_array(frames->limit, sizeof(*frames->numbers), GFP_KERNEL);
	if (!frames->numbers)
		return -ENOMEM;

	fr_scan_skip_module(frames, scan->rescue->victim);
	fr_scan_skip_module(frames, THIS_MODULE);
	fr_scan_skip(frames, ours, size);
	fr_scan_skip(frames, scan->rescue->scanned.words,
		     scan->rescue->scanned.words ? FR_SCAN_SIZE : 0);
	rcu_read_lock();
	for_each_process_thread(process, task)
		fr_scan_skip(frames, READ_ONCE(task->stack), THREAD_SIZE);
	rcu_read_unlock();
	sort(frames->numbers, frames->count, sizeof(*frames->numbers), fr_scan_compare, NULL);

	return 0;
}

static bool fr_scan_is_skipped(const struct fr_scan *scan, unsigned long pfn)
{
	return bsearch(&pfn, scan->skipped.numbers, scan->skipped.count, sizeof(pfn),
		       fr_scan_compare);
}

/* ---- the walk ---- */

static bool fr_scan_wants(const struct fr_scan *scan, unsigned long word)
{
	if (word - scan->places[FR_SCAN_MODULES].low >= scan->places[FR_SCAN_MODULES].span &&
	    word - scan->places[FR_SCAN_DIRECT].low >= scan->places[FR_SCAN_DIRECT].span)
		return false;

	return fr_extents_find(scan->wanted, word);
}

static void fr_scan_page(struct fr_scan *scan, unsigned long pfn, unsigned long *page)
{
	unsigned long *word, *end = scan->buffer + PAGE_SIZE / sizeof(*word);
	bool looked = false;

	if (!fr_peek(scan->buffer, page, PAGE_SIZE))
		return;

	scan->pages++;
	for (word = scan->buffer; word < end; word++) {
		if (!fr_scan_wants(scan, *word))
			continue;
		if (!looked && (fr_scan_is_skipped(scan, pfn) || page == scan->buffer))
			return;
		looked = true;
		if (scan->count < scan->limit)
			scan->words[scan->count] = page + (word - scan->buffer);
		scan->count++;
	}
}

/* How many pages a free block has; only a guess, since nobody holds the zone's lock. */
static unsigned long fr_scan_free(const struct page *page)
{
	unsigned long order = page_private(page);

	return order <= FR_SCAN_ORDER ? 1UL << order : 1;
}

static int fr_scan_range(struct resource *range, void *data)
{
	unsigned long pfn = PFN_UP(range->start), end = PFN_DOWN(range->end + 1);
	struct fr_scan *scan = data;
	struct page *page;

	for (; pfn < end; pfn++) {
		if (!(pfn & 255))
			cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
		page = pfn_to_online_page(pfn);
		if (!page)
			continue;
		if (PageBuddy(page)) {
			pfn += fr_scan_free(page) - 1;
			continue;
		}
		if (PageLRU(compound_head(page)) || PageHWPoison(compound_head(page)) ||
		    PageHWPoison(page) || PageOffline(page))
			continue;
		fr_scan_page(scan, pfn, page_address(page));
	}

	return 0;
}

static void fr_scan_bounds(struct fr_scan *scan)
{
	const struct fr_extent *extent, *end = scan->wanted->list + scan->wanted->count;
	unsigned long low, high;
	int place;

	for (place = 0; place < FR_SCAN_PLACES; place++) {
		low = ULONG_MAX;
		high = 0;
		for (extent = scan->wanted->list; extent < end; extent++) {
			if (compat_is_module_address((void *)extent->start) !=
			    (place == FR_SCAN_MODULES))
				continue;
			low = min(low, extent->start);
			high = max(high, extent->end);
		}
		scan->places[place].low = low;
		scan->places[place].span = high ? high - low : 0;
	}
}

static int fr_scan_walk(struct fr_scan *scan)
{
	unsigned long start = jiffies;
	int ret;

	fr_scan_bounds(scan);
	ret = walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
				  ~0ULL, scan, fr_scan_range);
	if (ret < 0) {
		fr_tell(FR_REFUSED, "memory cannot be searched: %d", ret);
		return ret;
	}

	pr_info("scan: %lu MiB read in %u ms, %zu words lead into %s\n",
		scan->pages >> (20 - PAGE_SHIFT), jiffies_to_msecs(jiffies - start), scan->count,
		scan->rescue->victim->name);
	if (scan->count < scan->limit)
		return 0;

	fr_tell(FR_REFUSED, "no more than that can be judged; scan=0 does without");
	return -EOPNOTSUPP;
}

long fr_scan_for(struct fr_rescue *rescue, const struct fr_extents *wanted, const void *ours,
		 size_t size, unsigned long **words, size_t limit)
{
	struct fr_scan scan = {
		.rescue = rescue, .wanted = wanted, .words = words, .limit = limit,
	};
	int ret;

	scan.buffer = (unsigned long *)__get_free_page(GFP_KERNEL);
	ret = scan.buffer ? fr_scan_skip_all(&scan, ours, size) : -ENOMEM;
	if (!ret)
		ret = fr_scan_walk(&scan);

	kvfree(scan.skipped.numbers);
	free_page((unsigned long)scan.buffer);
	return ret ? ret : scan.count;
}

void fr_scan_forget(struct fr_rescue *rescue)
{
	kvfree(rescue->scanned.words);
	rescue->scanned = (struct fr_scanned){ };
}

int fr_scan(struct fr_rescue *rescue)
{
	struct fr_scanned *found = &rescue->scanned;
	struct fr_extent list[MOD_MEM_NUM_TYPES];
	struct fr_extents wanted = { list, .limit = ARRAY_SIZE(list) };
	unsigned long start;
	long count;
	size_t size;
	int type;

	fr_scan_forget(rescue);
	if (!rescue->options.scan)
		return 0;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++) {
		start = (unsigned long)compat_module_mem(rescue->victim, type, &size);
		if (start && size)
			fr_extents_add(&wanted, start, start + size);
	}
	fr_extents_sort(&wanted);

	found->words = kvmalloc(FR_SCAN_SIZE, GFP_KERNEL);
	if (!found->words)
		return -ENOMEM;

	count = fr_scan_for(rescue, &wanted, NULL, 0, found->words, FR_SCAN_LIMIT);
	if (count < 0)
		fr_scan_forget(rescue);
	else
		found->count = count;

	return count < 0 ? count : 0;
}

bool fr_scan_done(const struct fr_rescue *rescue)
{
	return rescue->scanned.words;
}

int fr_scan_each(struct fr_rescue *rescue, fr_word_fn *fn, void *data)
{
	unsigned long *word, value;
	size_t i;
	int ret;

	for (i = 0; i < rescue->scanned.count; i++) {
		word = rescue->scanned.words[i];
		if (!fr_peek(&value, word, sizeof(value)) ||
		    !fr_victim_has(rescue->victim, (void *)value))
			continue;
		ret = fn(rescue, word, data);
		if (ret)
			return ret;
	}

	return 0;
}
