# SPDX-License-Identifier: MIT
"""What single lines look like: those inside a report, those that end one, those that only kernels print."""

from __future__ import annotations

import re

# From these lines on, the head of a report is complete.
BODY = re.compile(
    r"CPU: \d+ |RIP: |EIP: |pc : |epc ?: |PC is at |NIP |Krnl PSW|\s*Call [Tt]race:|Backtrace:"
    r"|Modules linked in:|Hardware name: "
)
TRACE = re.compile(r"\s*(?:Call [Tt]race|[Bb]acktrace)\b")
END_MARK = re.compile(r"---\[ end ")
RULE_LINE = re.compile(r"={10,}$")
# What the kernel prints inside a report.
INSIDE = re.compile(
    "|".join(
        (
            r"\s|$|\[<|[<>?]|-{3,}|={10,}",  # trace entries, dumps, contexts, separating lines
            # entries
            r"\(\[<|\[[0-9a-f]{8,16}\]|[\w.$]+(?:\+0x[0-9a-f]+/0x| \([\w./-]+\.[ch]:\d+| from [\w.$]+\+0x)",
            r"(?:RIP|E?IP|Code|FS|CS|DS|PKRU|ORIG_RAX|EFLAGS|pstate|pc|lr|sp|ra|epc|gp|tp|Hi|Lo) *: ",
            r"(?:R[A-Z0-9]{2}|E[A-Z]{2}|CR\d|DR\d|[xrast]\d+|GPR\d+) *: ?[0-9a-f]",  # registers
            r"(?:PC is at|LR is at|IP is at|EIP is at|NIP|LR|CTR|MSR|REGS|CFAR|DAR|DSISR|TRAP|CR|GPR"
            r"|IRQMASK|SOFTE)\b",
            r"(?:Krnl |Last Breaking|Instruction dump|Faulting instruction|Flags: |Control: |Register r"
            r"|Stack:|pgd = |\[[0-9a-f]{8,16}\] \*?p)",
            r"(?:[0-9a-f]{3,8}: |\$ ?\d|Status|Cause|BadVA|PrId|Exception stack|status: |ERA|CRMD|PRMD"
            r"|Cpu \d|psw|Oops)",
            r"(?:CPU|Hardware name|Workqueue|Tainted|Modules linked in|Call [Tt]race"
            r"|Unloaded tainted modules): ?",
            r"(?:Backtrace|backtrace|Kernel Offset): ?",
            r"(?:#PF: |PGD |Mem abort info|Data abort info|swapper pgtable|user pgtable|Internal error: "
            r"|Stack : |KASAN: )",
            r"(?:task:|Process |NMI backtrace for cpu|Sending NMI|rcu: |Showing |Preemption disabled)",
            r"(?:hardirqs last|softirqs last|irq event stamp|INFO: lockdep is turned off|\d+ locks? held)",
            r"(?:other info|stack backtrace|handlers:|Disabling IRQ|Disabling lock debugging"
            r"|the existing dep|but task)",
            r"(?:Allocated |Freed |The buggy|Memory state|which belongs|Last potentially|Second to last"
            r"|Read of |Write of )",
            r"(?:Slab 0x|INFO: (?:Slab|Object) |Object |Redzone|Padding|Bytes b4|CPU#"
            r"|Kernel panic - not syncing)",
            r"(?:page: ?|page_type|raw: |head: |note: |last function|\[last unloaded)",
        )
    )
)
BOOT = re.compile(r"(?:Linux version \d|Booting Linux on (?:physical CPU|hartid)|-- (?:Boot|Reboot)\b)")
# What a log without any stamp must hold to be known as the kernel's.
KERNELS_OWN = re.compile(
    r"Linux version \d|Kernel command line: |Command line: \S+=|Memory: \d+K/|random: crng |usb \d+-\d"
    r"|pci \d{4}:\d\d:|ACPI: [A-Z]{4} 0x|clocksource: |NET: Registered |EXT4-fs \(|BTRFS (?:info|warning|error)"
    r"|Run /\S*init as init|input: .{1,120} as /dev|IPv6: ADDRCONF|audit: type=|Freeing unused kernel|smpboot: "
    r"|\w+: loading out-of-tree module taints|\w+: module (?:verification failed|license)|tsc: Detected|raid6: "
    r"|(?:scsi|sd) \d+:\d|nvme nvme\d|cfg80211: |device \S{1,20} entered promiscuous|Booting Linux on "
)
OTHER_CPU = re.compile(r"NMI backtrace for cpu |CPU: ")
