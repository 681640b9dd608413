// SPDX-License-Identifier: GPL-2.0-only
/* peek.c - reads of memory that may not be there */
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "kernel/kernel.h"

/* Some kernels warn of a read that fails at an address that none of theirs has. */
bool fr_peek(void *to, const void *from, size_t size)
{
	return (unsigned long)from >= PAGE_OFFSET && !copy_from_kernel_nofault(to, from, size);
}
