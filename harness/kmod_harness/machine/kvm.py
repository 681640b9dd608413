# SPDX-License-Identifier: MIT
"""Does /dev/kvm really run guests?

A device that can be opened and creates virtual machines may still only emulate their instructions, a million a
second and none of SSE (kvm_pvm does so to ordinary kernels): a guest then hangs for minutes. So a guest of a
few instructions is run for real, in 64-bit mode: SSE, popcnt, a loop of a million turns, hlt. Real hardware
is done in a millisecond. Structures and numbers: Linux Documentation/virt/kvm/api.rst and
arch/x86/include/uapi/asm/kvm.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
import sys
from dataclasses import dataclass

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import DeadlineError

LIMIT_SECONDS = 0.25  # of processor time
PROGRAM = bytes.fromhex(
    "660fefc0"  # pxor xmm0, xmm0
    "f30fb8c1"  # popcnt eax, ecx
    "b940420f00"  # mov ecx, 1000000
    "ffc9"  # 1: dec ecx
    "75fc"  # jnz 1b
    "f4"  # hlt
)
CODE, PAGE_TABLES, STACK, MEMORY = 0x1000, 0x10000, 0x8000, 2 << 20
UNUSED_ADDRESS = 0x7FFBD000  # three pages outside the guest's memory

# ioctl numbers: _IO, _IOW, _IOR, _IOWR of type 0xAE.
CREATE_VM, GET_VCPU_MMAP_SIZE, CREATE_VCPU, RUN, SET_TSS_ADDR = 0xAE01, 0xAE04, 0xAE41, 0xAE80, 0xAE47
GET_SUPPORTED_CPUID = 0xC008AE05
SET_USER_MEMORY_REGION, SET_REGS, SET_SREGS, GET_SREGS = 0x4020AE46, 0x4090AE82, 0x4138AE84, 0x8138AE83
SET_CPUID2 = 0x4008AE90
CPUID_ENTRIES = 200
EXIT_HLT = 5
SREGS_SIZE, SEGMENT_SIZE = 312, 24
EXIT_REASON_OFFSET = 8  # in struct kvm_run


@dataclass(frozen=True)
class ProbeResult:
    """Whether KVM runs guests, and how we know."""

    usable: bool
    reason: str


def probe() -> ProbeResult:
    """Run the test program in a process of its own, which can be ended whatever the device does."""
    # The child limits the guest's processor time itself; this is for a device that blocks.
    deadline = Deadline(10.0, "KVM probe")
    argv = [sys.executable, "-P", "-m", "kmod_harness.machine.kvm"]  # -P: not from the working folder
    lines: list[str] = []
    try:
        completed = process.run(argv, deadline=deadline, on_line=lines.append, check=False)
    except DeadlineError:
        return ProbeResult(False, "a test program on it did not end")
    if completed.returncode == 0:
        return ProbeResult(True, lines[-1])
    if completed.returncode == 1 and lines:
        return ProbeResult(False, lines[-1])
    return ProbeResult(False, f"the probe itself ended with {completed.returncode}: {lines[-1:]}")


def _page_tables(memory: mmap.mmap) -> None:
    """One page each of level 4, 3 and 2; the last maps the first 2 MiB (present, writable, huge)."""
    for level, entry in enumerate((PAGE_TABLES + 0x1003, PAGE_TABLES + 0x2003, 0x83)):
        struct.pack_into("<Q", memory, PAGE_TABLES + 0x1000 * level, entry)


def _long_mode(sregs: bytearray) -> bytes:
    """Special registers (struct kvm_sregs) of flat 64-bit mode with paging and SSE on."""

    def segment(selector: int, kind: int, default_size: int, long: int) -> bytes:
        flags = (kind, 1, 0, default_size, 1, long, 1, 0, 0, 0)
        return struct.pack("<QIH10B", 0, 0xFFFFFFFF, selector, *flags)

    sregs[:SEGMENT_SIZE] = segment(8, 11, 0, 1)
    for index in range(1, 6):
        sregs[SEGMENT_SIZE * index : SEGMENT_SIZE * (index + 1)] = segment(16, 3, 1, 0)
    control = 8 * SEGMENT_SIZE + 2 * 16  # cr0, cr2, cr3, cr4, cr8, efer follow segments and tables
    values = {0: 0x80050033, 2: PAGE_TABLES, 3: 0x620, 5: 0x500}
    for index, value in values.items():
        struct.pack_into("<Q", sregs, control + 8 * index, value)
    return bytes(sregs)


def _prepare_vcpu(device: int, vcpu: int) -> None:
    cpuid = bytearray(struct.pack("<II", CPUID_ENTRIES, 0) + bytes(40 * CPUID_ENTRIES))
    fcntl.ioctl(device, GET_SUPPORTED_CPUID, cpuid)
    fcntl.ioctl(vcpu, SET_CPUID2, cpuid)  # a bytearray: the call takes no bytes over 1 KiB
    fcntl.ioctl(vcpu, SET_SREGS, _long_mode(bytearray(fcntl.ioctl(vcpu, GET_SREGS, bytes(SREGS_SIZE)))))
    registers = [0] * 18  # struct kvm_regs: rsp is 6, rip 16, rflags 17
    registers[6], registers[16], registers[17] = STACK, CODE, 2
    fcntl.ioctl(vcpu, SET_REGS, struct.pack("<18Q", *registers))


def _run_program() -> int:
    """Run the program and return KVM's exit reason. Raises OSError."""
    with contextlib.ExitStack() as stack:

        def owned(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        device = owned(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        vm = owned(fcntl.ioctl(device, CREATE_VM, 0))
        memory = mmap.mmap(-1, MEMORY)
        memory[CODE : CODE + len(PROGRAM)] = PROGRAM
        _page_tables(memory)
        with contextlib.suppress(OSError):  # only some Intel processors need it
            fcntl.ioctl(vm, SET_TSS_ADDR, UNUSED_ADDRESS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        fcntl.ioctl(vm, SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, MEMORY, address))
        vcpu = owned(fcntl.ioctl(vm, CREATE_VCPU, 0))
        run = mmap.mmap(vcpu, fcntl.ioctl(device, GET_VCPU_MMAP_SIZE, 0))
        _prepare_vcpu(device, vcpu)
        fcntl.ioctl(vcpu, RUN, 0)
        return int(struct.unpack_from("<I", run, EXIT_REASON_OFFSET)[0])


def main() -> int:
    """The child of `probe`: prints one line; exit code 0 when KVM runs guests, 1 when it does not."""
    import signal  # noqa: PLC0415 (only the child needs it)

    def give_up(*_: object) -> None:
        print(f"a loop of a million turns took over {LIMIT_SECONDS} s: instructions are emulated, not run")
        sys.stdout.flush()
        os._exit(1)

    # Processor time, which the guest's is part of: a busy host does not make KVM look slow.
    signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
    try:
        reason = _run_program()
    except OSError as error:
        print(f"/dev/kvm: {error.strerror}")
        return 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    if reason != EXIT_HLT:
        print(
            f"a test program ended with KVM exit reason {reason}, not hlt (17: an instruction KVM cannot run)"
        )
        return 1
    print("a test program ran on it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
