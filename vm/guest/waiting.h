/* SPDX-License-Identifier: MIT */
/* What waits in the kernel for its time or its work: see waiting.c. */
#ifndef WAITING_H
#define WAITING_H

/* Called with a kind ("workqueue", "timer", "gone-work"...) and a name or addresses. */
typedef void tell_fn(const char *kind, const char *name);

/* layout_file: keeps what is found out about this kernel, for the next time. */
void read_waiting(const char *layout_file, tell_fn *tell);

#endif
