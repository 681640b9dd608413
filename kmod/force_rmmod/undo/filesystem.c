// SPDX-License-Identifier: GPL-2.0-only
/* filesystem.c - types of file systems; one that is mounted cannot be undone */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>

#include "evidence/evidence.h"
#include "undo/undo.h"

static int fr_filesystem_collect(struct file_system_type *type, void *data)
{
	return fr_found(data, type, 0, "%s", type->name);
}

static int fr_filesystem_find(struct fr_rescue *rescue, struct fr_finds *finds)
{
	return fr_files_each_type(rescue->victim, fr_filesystem_collect, finds);
}

static int fr_filesystem_check(struct fr_rescue *rescue, void *object)
{
	struct file_system_type *type = object;

	return hlist_empty(&type->fs_supers) ? 0 : -EBUSY;
}

static int fr_filesystem_undo(struct fr_rescue *rescue, void *object)
{
	return unregister_filesystem(object);
}

const struct fr_kind fr_kind_filesystem = {
	.name = "file system type",
	.stage = FR_ENTRANCE,
	.find = fr_filesystem_find,
	.check = fr_filesystem_check,
	.undo = fr_filesystem_undo,
};
