/* SPDX-License-Identifier: MIT */
/* What there is in the kernel that a module may have put there. */
#ifndef CENSUS_H
#define CENSUS_H

/* Writes all of it to a file; or prints what there is and is not in that file. Returns an exit code. */
int census(const char *path, int only_new);

#endif
