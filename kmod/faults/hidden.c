// SPDX-License-Identifier: GPL-2.0-only
/*
 * hidden.c - things to which no pointer leads, neither in the module's data nor
 * anywhere else where it could be found: it is kept upside down
 */
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/workqueue.h>

#include "faults.h"

static unsigned long fa_hidden_device, fa_hidden_queue, fa_hidden_folder;

static void fa_hide(unsigned long *place, void *pointer)
{
	*place = ~(unsigned long)pointer;
}

static void *fa_found(unsigned long place)
{
	return (void *)~place;
}

int fa_hidden_start(void)
{
	struct platform_device *pdev;
	struct workqueue_struct *queue;

	queue = alloc_workqueue("faults_hidden", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;

	pdev = platform_device_register_simple("faults_hidden", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pdev)) {
		destroy_workqueue(queue);
		return PTR_ERR(pdev);
	}

	fa_hide(&fa_hidden_queue, queue);
	fa_hide(&fa_hidden_device, pdev);
	fa_hide(&fa_hidden_folder, proc_mkdir("faults_hidden", NULL));
	return 0;
}

void fa_hidden_stop(void)
{
	proc_remove(fa_found(fa_hidden_folder));
	platform_device_unregister(fa_found(fa_hidden_device));
	destroy_workqueue(fa_found(fa_hidden_queue));
}
