# SPDX-License-Identifier: MIT
"""The same report in every form in which people keep kernel logs is read as the same report."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest

from kmod_harness.verdict.lines import kernel_lines
from kmod_harness.verdict.splats import find_splats, read_log

REPORT = """\
gadget: loading out-of-tree module taints kernel.
BUG: kernel NULL pointer dereference, address: 0000000000000008
#PF: supervisor write access in kernel mode
#PF: error_code(0x0002) - not-present page
PGD 0 P4D 0
Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
CPU: 1 UID: 0 PID: 412 Comm: insmod Tainted: G           OE      6.12.9-amd64 #1
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.3 04/01/2014
RIP: 0010:gadget_probe+0x1c/0x40 [gadget]
Code: 00 00 0f 1f 44 00 00 48 8b 47 78 <c7> 40 08 01 00 00 00 31 c0 c3
RSP: 0018:ffffa1b2c3d4e5f0 EFLAGS: 00010246
Call Trace:
 <TASK>
 gadget_init+0x21/0xff0 [gadget]
 do_one_initcall+0x5b/0x310
 do_init_module+0x60/0x230
 __do_sys_finit_module+0xac/0x120
 do_syscall_64+0x82/0x190
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
RIP: 0033:0x7f3c2a51e1f9
 </TASK>
Modules linked in: gadget(OE+) evdev button
CR2: 0000000000000008
---[ end trace 0000000000000000 ]---
usb 1-1: new high-speed USB device number 2 using xhci_hcd
""".splitlines()
EXPECTED = [("null-deref", "gadget", "gadget_probe", REPORT[1])]
CLEAN = [
    "usb 1-1: new high-speed USB device number 2 using xhci_hcd",
    "usb 1-1: New USB device found, idVendor=0627, idProduct=0001",
    "gadget: says WARNING: all is well",
]

Carrier = Callable[[int, str], str]


def stamp(number: int) -> str:
    return f"[{71.3 + number / 1000:12.6f}] "


def as_json(number: int, text: str) -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": "1", "_TRANSPORT": "kernel", "MESSAGE": text, "PRIORITY": "1"})


FORMS: dict[str, Carrier] = {
    "dmesg": lambda n, t: stamp(n) + t,
    "dmesg -T": lambda n, t: f"[Wed Nov 25 14:03:{n:02} 2026] {t}",
    "dmesg -T, German": lambda n, t: f"[Mi Nov 25 14:03:{n:02} 2026] {t}",
    "dmesg -T, French": lambda n, t: f"[mer. nov. 25 14:03:{n:02} 2026] {t}",
    "dmesg -T, Chinese": lambda n, t: f"[三 11月 25 14:03:{n:02} 2026] {t}",
    "dmesg -H": lambda n, t: f"[Nov25 14:03] {t}" if n == 0 else f"[  +0.0000{n:02}] {t}",
    "dmesg -H in colour": lambda n, t: f"\x1b[32m[  +0.0000{n:02}] \x1b[0m\x1b[33m{t}\x1b[0m",
    "dmesg -d": lambda n, t: f"[   71.3000{n:02} <    0.000001>] {t}",
    "dmesg -t -d": lambda n, t: f"[<    0.000001>] {t}",
    "dmesg -T -d": lambda n, t: f"[Wed Nov 25 14:03:{n:02} 2026 <    0.000001>] {t}",
    "dmesg -x": lambda n, t: f"kern  :warn  : {stamp(n)}{t}",
    "dmesg -x -T": lambda n, t: f"kern  :alert : [Wed Nov 25 14:03:{n:02} 2026] {t}",
    "dmesg -x -t": lambda n, t: f"kern  :warn  : {t}",
    "dmesg -t": lambda n, t: t,
    "dmesg --time-format iso": lambda n, t: f"2026-11-25T14:03:{n:02},123456+01:00 {t}",
    "dmesg --raw": lambda n, t: f"<4>{stamp(n)}{t}",
    "dmesg --json": lambda n, t: f'         "msg": {json.dumps(t)}',
    "levels without times": lambda n, t: f"<4>{t}",
    "/dev/kmsg": lambda n, t: f"4,{n},{71300000 + n},-;{t}",
    "/dev/kmsg with callers": lambda n, t: f"4,{n},{71300000 + n},-,caller=T412;{t}",
    "netconsole": lambda n, t: f"{stamp(n)}{t}",
    "netconsole by syslog": lambda n, t: f"Nov 25 14:03:{n:02} 10.0.0.7 {stamp(n)}{t}",
    "netconsole extended": lambda n, t: f"4,{n},{71300000 + n},-,ncfrag=0/33;{t}",
    "journalctl -k": lambda n, t: f"Nov 25 14:03:{n:02} box kernel: {t}",
    "journalctl, French": lambda n, t: f"nov. 25 14:03:{n:02} box kernel: {t}",
    "journalctl, Chinese": lambda n, t: f"11月 25 14:03:{n:02} box kernel: {t}",
    "journalctl --no-hostname": lambda n, t: f"Nov 25 14:03:{n:02} kernel: {t}",
    "journalctl -o short-precise": lambda n, t: f"Nov 25 14:03:{n:02}.123456 box kernel: {t}",
    "journalctl -o short-iso": lambda n, t: f"2026-11-25T14:03:{n:02}+0100 box kernel: {t}",
    "journalctl -o short-iso-precise": lambda n, t: f"2026-11-25T14:03:{n:02}.123456+01:00 box kernel: {t}",
    "journalctl -o short-full": lambda n, t: f"Wed 2026-11-25 14:03:{n:02} UTC box kernel: {t}",
    "journalctl -o short-monotonic": lambda n, t: f"{stamp(n)}box kernel: {t}",
    "a stamp before the name": lambda n, t: f"{stamp(n)}kernel: {t}",
    "syslog without a host's name": lambda n, t: f"2026-11-25T14:03:{n:02}.897164+02:00 (none) kernel: {t}",
    "journalctl -o short-delta": lambda n, t: f"[   71.3000{n:02} <    0.000001 >] box kernel: {t}",
    "journalctl -o short-unix": lambda n, t: f"1795615383.1234{n:02} box kernel: {t}",
    "journalctl -o verbose": lambda n, t: f"    MESSAGE={t}",
    "journalctl -o json": as_json,
    "syslog": lambda n, t: f"Nov 25 14:03:{n:02} box kernel: {stamp(n)}{t}",
    "syslog, one digit": lambda n, t: f"Nov  5 14:03:{n:02} box kernel: {stamp(n)}{t}",
    "rsyslog, ISO times": lambda n, t: f"2026-11-25T14:03:{n:02}.123456+01:00 box kernel: {stamp(n)}{t}",
    "rsyslog, no stamp": lambda n, t: f"2026-11-25T14:03:{n:02}.123456+01:00 box kernel: {t}",
    "syslog with year": lambda n, t: f"Nov 25 2026 14:03:{n:02} box kernel: {t}",
    "syslog with PRI": lambda n, t: f"<4>Nov 25 14:03:{n:02} box kernel: {t}",
    "RFC 5424": lambda n, t: f"<4>1 2026-11-25T14:03:{n:02}.1Z box kernel - - - {t}",
    "busybox syslogd": lambda n, t: f"Nov 25 14:03:{n:02} box kern.warn kernel: {stamp(n)}{t}",
    "OpenWrt logread": lambda n, t: f"Wed Nov 25 14:03:{n:02} 2026 kern.warn kernel: {stamp(n)}{t}",
    "kern.log, kernel only": lambda n, t: f"kernel: {stamp(n)}{t}",
    "three digits": lambda n, t: f"[   71.3{n:02}] {t}",
    "callers": lambda n, t: f"[   71.3000{n:02}][  T412] {t}",
    "callers, blanks": lambda n, t: f"[    71.3000{n:02} ][  T412 ] {t}",
    "callers without times": lambda n, t: f"[  T412] {t}",
    "MediaTek": lambda n, t: f"<1>[   71.3000{n:02}]  (1)[412:insmod]{t}",
    "MediaTek, levels": lambda n, t: f"[   71.3000{n:02}] <1>-(1)[412:insmod]{t}",
    "Samsung": lambda n, t: f"<1>[   71.3000{n:02}] [1:         insmod:  412] {t}",
    "Marvell": lambda n, t: f"[   71.3000{n:02}] c1 412 (insmod) {t}",
    "Amlogic": lambda n, t: f"[   71.3000{n:02}@1] {t}",
    "Android's old kernels": lambda n, t: f"    71.3000{n:02}:   <1> (11-25 14:03:00.304698634) {t}",
    "logcat": lambda n, t: f"11-25 14:03:{n:02}.123     0     0 W kernel  : {t}",
    "logcat with stamps": lambda n, t: f"11-25 14:03:{n:02}.123     0     0 W kernel  : {stamp(n)}{t}",
    "GitHub Actions": lambda n, t: f"2026-11-25T14:03:{n:02}.1234567Z {t}",
    "GitHub Actions, stamps": lambda n, t: f"2026-11-25T14:03:{n:02}.1234567Z {stamp(n)}{t}",
    "gh run view --log": lambda n, t: f"test (6.12)\tRun it\t2026-11-25T14:03:{n:02}.1234567Z {stamp(n)}{t}",
    "GitLab CI": lambda n, t: f"2026-11-25T14:03:{n:02}.123456Z 01O {t}",
    "GitLab CI, stamps": lambda n, t: f"2026-11-25T14:03:{n:02}.123456Z 01O+{stamp(n)}{t}",
    "Jenkins": lambda n, t: f"[2026-11-25T14:03:{n:02}.123Z] {stamp(n)}{t}",
    "Jenkins, clock": lambda n, t: f"14:03:{n:02}  {stamp(n)}{t}",
    "KernelCI": lambda n, t: f"14:03:{n:02}.123456  {stamp(n)}{t}",
    "KernelCI without stamps": lambda n, t: f"14:03:{n:02}.123456  {t}",
    "LAVA, YAML": lambda n, t: (
        f'- {{"dt": "2026-11-25T14:03:{n:02}.1", "lvl": "target", "msg": "{stamp(n)}{t}"}}'
    ),
    "LAVA, JSON": lambda n, t: (
        f'{{"dt": "2026-11-25T14:03:{n:02}.1", "lvl": "target", "msg": "{stamp(n)}{t}"}}'
    ),
    "minicom": lambda n, t: f"[2026-11-25 14:03:{n:02}] {stamp(n)}{t}",
    "tio": lambda n, t: f"[14:03:{n:02}.123] {stamp(n)}{t}",
    "ts": lambda n, t: f"Nov 25 14:03:{n:02} {stamp(n)}{t}",
    "conserver, labgrid": lambda n, t: f"board-3> {stamp(n)}{t}",
    "docker compose": lambda n, t: f"tests-1  | {stamp(n)}{t}",
    "serial console": lambda n, t: f"{stamp(n)}{t}\r",
    "serial console, two returns": lambda n, t: f"{stamp(n)}{t}\r\r",
    "serial console, NULs": lambda n, t: f"\x00{stamp(n)}{t}\x00",
    "prompt before": lambda n, t: f"root@board:~# {stamp(n)}{t}" if n == 1 else stamp(n) + t,
    "mail": lambda n, t: f"> {stamp(n)}{t}",
    "mail, twice": lambda n, t: f"> > {stamp(n)}{t}",
    "mail without stamps": lambda n, t: f"> {t}",
    "indented": lambda n, t: f"    {stamp(n)}{t}",
    "HTML": lambda n, t: html.escape(f"{stamp(n)}{t}", quote=False),
    "Chrome OS": lambda n, t: f"2026-11-25T14:03:{n:02}.214537Z INFO kernel: {stamp(n)}{t}",
    "pstore": lambda n, t: f"<4>{stamp(n)}{t}" if n else f"Panic#1 Part1\n<4>{stamp(n)}{t}",
}


def found(lines: list[str]) -> list[tuple[str, str | None, str | None, str]]:
    return [(splat.kind, splat.module, splat.function, splat.title) for splat in find_splats(lines)]


@pytest.mark.parametrize("form", FORMS)
def test_form(form: str) -> None:
    lines = [FORMS[form](number, text) for number, text in enumerate(REPORT)]
    assert found(lines) == EXPECTED
    (splat,) = find_splats(lines)
    assert splat.lines == tuple(text.rstrip() for text in REPORT[1:-1])


@pytest.mark.parametrize("form", FORMS)
def test_form_of_a_clean_log(form: str) -> None:
    log = read_log([FORMS[form](number, text) for number, text in enumerate(CLEAN)])
    assert log.splats == ()
    assert log.understood


@pytest.mark.parametrize(
    "line",
    [
        "Nov 25 14:03:01 box myprog[12]: BUG: kernel NULL pointer dereference, address: 0",
        "2026-11-25T14:03:01.123456+01:00 box systemd-udevd[3]: WARNING: possible recursive locking detected",
        "11-25 14:03:01.123   310   311 E MyApp   : kernel BUG at a.c:1!",
    ],
)
def test_line_of_another_program(line: str) -> None:
    assert find_splats([line]) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Dear all,\n\nplease find the minutes below.\n",
        "#include <linux/module.h>\nint f(void);\n",
        "\x00\x01\xff" * 50,
    ],
)
def test_what_is_no_kernel_log_is_not_understood(text: str) -> None:
    log = read_log(text.splitlines())
    assert (log.splats, log.understood) == ((), False)


def test_log_of_xorg_is_no_kernel_log() -> None:
    assert not read_log(["[    25.123] (II) Loading module", "[    25.124] (==) Log file"]).understood


def test_log_without_times_is_known_by_what_only_kernels_print() -> None:
    assert read_log(["Linux version 6.12.9 (gcc) #1 SMP", "Run /init as init process"]).understood
    assert not read_log(["usb 1-1: says a shop's list", "make: module foo", "CPU: fast"]).understood


def test_report_without_times_in_a_log_that_has_some() -> None:
    assert found([f"{stamp(1)}usb 1-1: fine", *REPORT, f"{stamp(2)}usb 1-2: fine"]) == EXPECTED


def test_first_line_of_a_report_has_lost_its_stamp() -> None:
    lines = [REPORT[1], *(stamp(number) + text for number, text in enumerate(REPORT[2:]))]
    assert found(lines) == EXPECTED


def test_words_of_a_program_among_stamped_lines_are_no_report() -> None:
    assert found([f"{stamp(1)}usb 1-1: fine", "kernel BUG at a.c:1!", "make: done"]) == []


def test_two_reports_woven_together_are_told_apart_by_their_callers() -> None:
    other = [line.replace("gadget", "widget").replace("412", "518") for line in REPORT]
    lines = []
    for number, (one, two) in enumerate(zip(REPORT, other, strict=True)):
        lines += [f"[   71.3000{number:02}][  T412] {one}", f"[   71.3000{number:02}][  T518] {two}"]
    first, second = find_splats(lines)
    assert (first.module, first.function, first.pid) == ("gadget", "gadget_probe", 412)
    assert (second.module, second.function, second.pid) == ("widget", "widget_probe", 518)
    assert len(first.lines) == len(second.lines) == len(REPORT) - 2


def test_several_boots_in_one_file() -> None:
    boot = "[    0.000000] Linux version 6.12.9 (gcc) #1 SMP"
    half = [stamp(number) + text for number, text in enumerate(REPORT[:9])]
    whole = [stamp(number) + text for number, text in enumerate(REPORT)]
    first, second = find_splats([boot, *half, boot, *whole])
    assert (first.boot, second.boot) == (1, 2)
    assert first.module == second.module == "gadget"
    assert len(first.lines) == 8


def test_escapes_of_kmsg_are_undone() -> None:
    (line,) = kernel_lines([r"4,1,2000000,-;tab\x09end"])
    assert (line.text, line.seconds, line.certain) == ("tab\tend", 2.0, True)
