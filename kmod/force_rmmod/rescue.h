/* SPDX-License-Identifier: GPL-2.0-only */
/* rescue.h - one case: a module that is to become removable, and what is known of it */
#ifndef FORCE_RMMOD_RESCUE_H
#define FORCE_RMMOD_RESCUE_H

#include <linux/types.h>

struct fr_journal;
struct module;

/* As the parameters of the same names are when the case begins. */
struct fr_options {
	bool force;	/* take a risk, named in the log, when proof is missing */
	bool risk_panic; /* with that: free what may be alive */
	bool explain;	/* tell what is found, and do nothing */
	bool scan;	/* search memory for what leads into the victim */
};

/* The words of memory that led into the victim when it was searched. */
struct fr_scanned {
	unsigned long **words;	/* NULL: it was not */
	size_t count;
};

/* All undone things, for one line of the log. */
#define FR_UNDONE_SIZE 400

#define FR_KEPT 64

struct fr_rescue {
	struct module *victim;
	struct fr_options options;
	bool pinned;		/* a reference to the victim's directory in sysfs is ours */
	bool repairs_only;	/* the victim keeps all that is not half-done */
	/* NULL, or tells whether an object at this address is the guard's own. */
	bool (*is_ours)(const void *start);
	bool stays;		/* its code may go on running: what that may use is kept */
	struct fr_scanned scanned;
	struct fr_journal *journal;	/* what its guarded call has registered, or NULL */
	char undone[FR_UNDONE_SIZE];
	const void *kept[FR_KEPT];	/* objects that nobody can undo, with which it stays */
	size_t kept_count;
};

/* What is called for a word that is, or may be, the victim's; non-zero ends the walk. */
typedef int fr_word_fn(struct fr_rescue *rescue, unsigned long *word, void *data);

#endif
