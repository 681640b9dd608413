/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DEPEND_S_H
#define DEPEND_S_H

/* Logs that user is here, and returns how many calls there have been. */
int depend_s_call(const char *user);

/* How many calls there have been. */
int depend_s_calls_made(void);

#endif
