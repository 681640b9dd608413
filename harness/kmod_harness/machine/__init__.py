# SPDX-License-Identifier: MIT
"""The virtual machine: accelerator, QEMU command line, initramfs, console, QMP."""
