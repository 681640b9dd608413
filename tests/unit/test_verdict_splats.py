# SPDX-License-Identifier: MIT
"""Splats in golden logs. A new file under golden/ is a new test; it opens with its own expectation:

# origin: where the log comes from
# expect: kind | module | function | title      (one line a splat, in order; or "# expect: none")
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.module.vocabulary import SPLAT_KINDS
from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.verdict.lines import kernel_lines
from kmod_harness.verdict.patterns import find_row
from kmod_harness.verdict.splats import Splat, find_splats

GOLDEN = Path(__file__).parent / "golden"
LOGS = sorted(GOLDEN.glob("*.log"))
# Kinds of which nobody has a log yet.
WITHOUT_LOG = {"kmsan", "netdev-leak", "workqueue"}


def read_golden(path: Path) -> tuple[list[str], list[str]]:
    """The expectations at the top of a golden log, and its lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    expected = [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]
    assert expected, f"{path.name} has no '# expect:' line"
    body = [line for line in lines if not line.startswith(("# expect: ", "# origin: "))]
    return [line for line in expected if line != "none"], body


def as_records(lines: list[str]) -> list[KernelRecord]:
    """The same log as /dev/kmsg would give it: without what programs wrote to the console."""
    read = list(kernel_lines(lines))
    timed = any(line.certain for line in read)
    return [
        KernelRecord(number, 4, line.seconds or 0.0, line.text, line.caller)
        for number, line in enumerate(read)
        if line.certain or not timed
    ]


def shown(splat: Splat) -> str:
    """A splat in the form of an expectation."""
    return f"{splat.kind} | {splat.module} | {splat.function} | {splat.title}"


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_console(path: Path) -> None:
    expected, lines = read_golden(path)
    assert [shown(splat) for splat in find_splats(lines)] == expected


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_console_with_carriage_returns(path: Path) -> None:
    expected, lines = read_golden(path)
    assert [shown(splat) for splat in find_splats([f"{line}\r" for line in lines])] == expected


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_records(path: Path) -> None:
    expected, lines = read_golden(path)
    assert [shown(splat) for splat in find_splats(as_records(lines))] == expected


def test_every_kind_has_a_golden_log() -> None:
    seen = {line.split(" | ")[0] for path in LOGS for line in read_golden(path)[0]}
    assert set(SPLAT_KINDS) - WITHOUT_LOG == seen


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_words_inside_a_line_mean_nothing(path: Path) -> None:
    """Every line of every golden log is harmless when something stands before it."""
    _, lines = read_golden(path)
    records = [KernelRecord(0, 4, 0.0, f"driver: {line.text}") for line in kernel_lines(lines)]
    assert find_splats(records) == ()


@pytest.mark.parametrize(
    "text",
    [
        "ODEBUG: free active (active state 0) object: ffff8881 object type: timer_list hint: broken_timer",
        "BUG: KMSAN: uninit-value in broken_init+0x2a/0x1000 [broken]",
        "unregister_netdevice: waiting for eth0 to become free. Usage count = 1",
        "BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[12]",
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
        "NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:101]",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
        "INFO: rcu_tasks detected stalls on tasks:",
        "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... } 26 jiffies s: 65 root: 0x1/.",
        "BUG: using smp_processor_id() in preemptible [00000000] code: insmod/101",
        "WARNING: inconsistent lock state",
        "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
        "WARNING: insmod/101 still has locks held!",
        "[ BUG: Invalid wait context ]",
        "INFO: trying to register non-static key.",
        "Oops [#1]",
        "kobject: '(null)' (00000000c4d1b7a2): is not initialized, yet kobject_put() is being called.",
        "kmem_cache_destroy broken: Slab cache still has objects",
        "BUG broken_cache (Tainted: G      OE     ): Objects remaining in broken_cache",
        "[ INFO: possible circular locking dependency detected ]",
        "BUG: soft lockup - CPU#1 stuck for 22s! [modprobe:4176]",
        "WARNING: at fs/foo.c:12 foo_check+0x1/0x2()",
        "BUG: KASan: use after free in broken_open+0x2c9/0x340 [broken] at addr ffff880d59947040",
        "CPU 0 Unable to handle kernel paging request at virtual address 0000000b, epc == 80365c0c",
        "INFO: task insmod:12 is blocked on a mutex likely owned by task cat:13.",
        "SError Interrupt on CPU0, code 0x00000000be000011 -- SError",
        "Kernel BUG [#1]",
        "Oops: Kernel access of bad area, sig: 11 [#1]",
        "BUG: Kernel NULL pointer dereference on write at 0x00000000",
    ],
)
def test_other_first_lines(text: str) -> None:
    row = find_row(text, certain=True)
    assert row is not None
    assert row.kind != "bug-other"


def test_report_ends_at_its_mark_and_keeps_the_registers_after_it() -> None:
    _, lines = read_golden(GOLDEN / "real-5.10-vms-fault.log")
    (splat,) = find_splats(lines)
    assert splat.lines[0] == splat.title
    assert splat.lines[-1] == "PKRU: 55555554"
    assert any(line.startswith("---[ end trace ") for line in splat.lines[:-5])
    assert not any("Killed" in line or "LD r vms" in line for line in splat.lines)
    assert f"[    {splat.seconds}] {splat.title}" in lines


CUT_HERE = "------------[ cut here ]------------"
END_MARK = "---[ end trace 0000000000000000 ]---"
RULE = "=" * 66


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("hand-x86-warning-6.1", CUT_HERE, END_MARK),
        ("hand-scheduling-while-atomic", "BUG: scheduling while atomic: insmod/101/0x00000002", " </TASK>"),
        ("hand-lockdep-circular", RULE[:54], " </TASK>"),
        ("hand-kasan", RULE, RULE),
        ("hand-irq", 'irq 9: nobody cared (try booting with the "irqpoll" option)', "Disabling IRQ #9"),
        (
            "hand-kmemleak",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        ),
    ],
)
def test_report_goes_from_its_first_line_to_its_last(name: str, first: str, last: str) -> None:
    _, lines = read_golden(GOLDEN / f"{name}.log")
    later = [KernelRecord(0, 4, 9.0, text) for text in ("driver: ordinary line", " indented line")]
    (splat,) = find_splats([*as_records(lines), *later])
    assert (splat.lines[0], splat.lines[-1]) == (first, last)


def kinds(*texts: str) -> list[str]:
    return [splat.kind for splat in find_splats([KernelRecord(0, 4, 1.0, text) for text in texts])]


def test_rule_belongs_to_the_report_below_it() -> None:
    head = "BUG: kernel NULL pointer dereference, address: 0"
    first, second = find_splats([head, "CR2: 0", RULE, "BUG: KASAN: use-after-free in f+0x1/0x2"])
    assert first.lines == (head, "CR2: 0")
    assert second.lines == (RULE, "BUG: KASAN: use-after-free in f+0x1/0x2")


def test_rule_that_closes_a_report_does_not_open_the_next() -> None:
    kasan = [RULE, "BUG: KASAN: use-after-free in f+0x1/0x2", RULE]
    first, second = find_splats([*kasan, "Kernel panic - not syncing: on purpose"])
    assert first.lines == tuple(kasan)
    assert second.lines == ("Kernel panic - not syncing: on purpose",)


def test_kernel_line_after_a_closed_rule_is_not_part_of_it() -> None:
    first, second = find_splats(
        [
            RULE,
            "BUG: KASAN: use-after-free in f+0x1/0x2",
            RULE,
            " indented",
            "WARNING: CPU: 0 PID: 1 at a.c:1",
        ]
    )
    assert first.lines[-1] == RULE
    assert second.lines == ("WARNING: CPU: 0 PID: 1 at a.c:1",)


def test_oops_in_the_body_of_another_report_is_a_splat_of_its_own() -> None:
    lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [a:1]"
    fault = "general protection fault: 0000 [#1] SMP"
    assert kinds(lockup, "CPU: 0 PID: 1 Comm: a", fault) == ["soft-lockup", "general-protection"]


def test_second_oops_at_once_is_a_splat_of_its_own() -> None:
    null, page = (
        "BUG: kernel NULL pointer dereference, address: 8",
        "BUG: unable to handle page fault for address: 9",
    )
    assert kinds(null, page) == ["null-deref", "page-fault"]


def test_panic_never_joins_what_led_to_it() -> None:
    cause = "Insufficient stack space to handle exception!"
    assert kinds(cause, "Kernel panic - not syncing: kernel stack overflow") == ["stack-overflow", "panic"]


def test_report_without_end_is_cut() -> None:
    head = "BUG: kernel NULL pointer dereference, address: 0"
    (splat,) = find_splats([head, *[" trace+0x1/0x2"] * 1000])
    assert len(splat.lines) == 400


def test_carriage_return_inside_a_line() -> None:
    assert [splat.kind for splat in find_splats(["/ # insmod a.ko\rkernel BUG at a.c:1!"])] == ["bug"]


def test_instruction_of_a_program_is_not_to_blame() -> None:
    (splat,) = find_splats(
        [
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "RIP: 0033:0x43be89",
            "RIP: 0010:f+0x1/0x2 [one]",
        ]
    )
    assert (splat.function, splat.module) == ("f", "one")


def test_report_that_is_cut_off_is_still_a_splat() -> None:
    (splat,) = find_splats(["[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008"])
    assert (splat.kind, splat.module, splat.lines) == ("null-deref", None, (splat.title,))


def test_cut_here_alone_counts_as_a_warning() -> None:
    (splat,) = find_splats(["[    1.000000] ------------[ cut here ]------------"])
    assert splat.kind == "warning"


def test_lost_end_does_not_swallow_the_log() -> None:
    start = "[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008"
    noise = [f"[    2.{number:06}] driver: ordinary line" for number in range(30)]
    (splat,) = find_splats([start, *noise, "[    3.000000]  indented"])
    assert splat.lines == (splat.title,)


def test_shell_prompt_before_a_kernel_line() -> None:
    (splat,) = find_splats(["/ # [    1.000000] sysfs: cannot create duplicate filename '/devices/x'"])
    assert splat.kind == "sysfs-duplicate"


def test_terminal_codes_are_taken_away() -> None:
    (splat,) = find_splats(["\x1b[0;31m[    1.000000] kernel BUG at a.c:1!\x1b[0m"])
    assert splat.title == "kernel BUG at a.c:1!"


def test_unknown_bug_of_an_unmarked_line_is_left_to_the_program_that_may_have_printed_it() -> None:
    assert find_splats(["BUG: says a program"]) == ()


def test_module_from_the_list_when_no_symbol_names_it() -> None:
    lines = [
        "kernel BUG at a.c:1!",
        "Modules linked in: one(O) two(OE+) evdev",
        "RIP: 0010:kernel_function+0x1/0x2",
    ]
    assert find_splats(lines)[0].module == "two"
    assert find_splats([lines[0], "Modules linked in: one(O) two(OE)", lines[2]])[0].module is None


ARM64 = "Unable to handle kernel paging request at virtual address"
X86 = "BUG: unable to handle page fault for address:"


@pytest.mark.parametrize(
    ("title", "registers", "module"),
    [
        (f"{X86} ffffffffc0a3c010", "RIP: 0010:0xffffffffc0a3c010", None),  # where modules lie
        (f"{X86} 0000000090909090", "RIP: 0010:0x90909090", "one"),  # a broken pointer: who jumped is to blame
        (f"{X86} ffff888103a4c000", "RIP: 0010:0xffff888103a4c000", "one"),  # data
        (f"{X86} 00000000dead0000", "RIP: 0010:0xdead0000", "one"),
        (f"{ARM64} ffff80007a4f0010", "pc : 0xffff80007a4f0010", None),
        (f"{ARM64} ffff000103a4c000", "pc : 0xffff000103a4c000", "one"),
        (f"{ARM64} bf00c024", "PC is at 0xbf00c024", None),
        (f"{ARM64} 00000010", "PC is at 0x10", "one"),
    ],
)
def test_bare_address_is_nobodys_or_a_broken_pointer(title: str, registers: str, module: str | None) -> None:
    trace = ["Call Trace:", " f+0x1/0x20 [one]", " do_one_initcall+0x1/0x2", "Modules linked in: one(O+)"]
    (splat,) = find_splats([title, registers, *trace])
    assert splat.module == module


def test_module_with_build_id() -> None:
    (splat,) = find_splats(["kernel BUG at a.c:1!", "RIP: 0010:f+0x1/0x2 [one 0123abcd]"])
    assert (splat.module, splat.function) == ("one", "f")


def test_record_of_several_lines() -> None:
    (splat,) = find_splats([KernelRecord(1, 4, 2.5, "driver: hello\nkernel BUG at a.c:1!")])
    assert (splat.title, splat.seconds) == ("kernel BUG at a.c:1!", 2.5)
