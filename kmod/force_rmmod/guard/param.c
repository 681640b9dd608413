// SPDX-License-Identifier: GPL-2.0-only
/*
 * param.c - the setters of a module's parameters, called before its init
 *
 * The table of parameters is read-only when the guard learns of the module. So
 * the loader is given a copy, whose setters are ours. Before init is called the
 * module has its own table again, and so have the files that were made from the
 * copy.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "guard/guard.h"

/* The parameter itself, while its module is being loaded by current. */
static const struct kernel_param *fr_param_real(const struct fr_guarded *guarded,
						const struct kernel_param *copy)
{
	size_t i = copy - guarded->params;

	return i < guarded->mod->num_kp ? &guarded->real_params[i] : NULL;
}

struct fr_param_setting {
	const struct kernel_param *param;
	const char *value;
};

static int fr_param_call(void *data)
{
	const struct fr_param_setting *setting = data;

	return setting->param->ops->set(setting->value, setting->param);
}

static int fr_param_set(const char *value, const struct kernel_param *copy)
{
	const struct fr_guarded *guarded = fr_guarded_loading();
	struct fr_param_setting setting = { .value = value };

	setting.param = guarded ? fr_param_real(guarded, copy) : NULL;
	if (!setting.param)
		return -EBUSY;

	return fr_guard_run(guarded->mod, "parameter", fr_param_call, &setting);
}

/* If something fails before init; of several with the same variable one is enough. */
static void fr_param_free(void *arg)
{
	const struct fr_guarded *guarded = fr_guarded_loading();
	const struct kernel_param *real = guarded ? guarded->real_params : NULL;
	unsigned int i;

	for (i = 0; real && i < guarded->mod->num_kp; i++) {
		if (real[i].arg == arg && real[i].ops->free) {
			real[i].ops->free(arg);
			return;
		}
	}
}

static const struct kernel_param_ops fr_param_ops = {
	.set = fr_param_set,
	.free = fr_param_free,
};

static const struct kernel_param_ops fr_param_ops_noarg = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = fr_param_set,
	.free = fr_param_free,
};

void fr_params_guard(struct fr_guarded *guarded)
{
	struct module *mod = guarded->mod;
	struct kernel_param *copy;
	unsigned int i;

	copy = kmalloc_array(mod->num_kp, sizeof(*copy), GFP_KERNEL);
	if (!mod->num_kp || !copy) {
		kfree(copy);
		return;
	}

	memcpy(copy, mod->kp, mod->num_kp * sizeof(*copy));
	for (i = 0; i < mod->num_kp; i++) {
		bool noarg = copy[i].ops->flags & KERNEL_PARAM_OPS_FL_NOARG;

		copy[i].ops = noarg ? &fr_param_ops_noarg : &fr_param_ops;
	}

	guarded->params = copy;
	guarded->real_params = mod->kp;
	mod->kp = copy;
}

void fr_params_restore(struct fr_guarded *guarded)
{
	struct module *mod = guarded->mod;
	struct compat_module_param_attrs *files;
	const struct kernel_param *real;
	unsigned int i;

	if (!guarded->real_params)
		return;

	kernel_param_lock(mod);
	mod->kp = guarded->real_params;
	files = (struct compat_module_param_attrs *)mod->mkobj.mp;
	for (i = 0; files && i < files->num; i++) {
		real = fr_param_real(guarded, files->attrs[i].param);
		if (real)
			files->attrs[i].param = real;
	}
	kernel_param_unlock(mod);
	guarded->real_params = NULL;
}

/* With the module or the guard: a reader of its files may still look at it when it is live. */
void fr_params_free(struct fr_guarded *guarded)
{
	kfree(guarded->params);
	guarded->params = NULL;
}
