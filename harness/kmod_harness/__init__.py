# SPDX-License-Identifier: MIT
"""Build out-of-tree Linux kernel modules, boot the kernel in QEMU, load them and judge what happened.

One run reads like a sentence: a *kernel* is chosen and fetched, a *module* is built for it, a *machine*
boots it, a *guest* loads the module, a *verdict* is reached, a *report* is written. There is one folder
for each step, and imports point only backwards along that sentence.
"""

__version__ = "0.1.0"
