# SPDX-License-Identifier: MIT
"""The table of splats: what the first lines of each kind of kernel report look like.

Every pattern is anchored at the start of a kernel line. "BUG" or "WARNING" elsewhere in a line means nothing:
drivers and the boot code print such words every day. A new kind is one row here, its name in
module/vocabulary.py, and one file under tests/unit/golden/.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Stage(enum.IntEnum):
    """Where in the head of a report a line stands; the kind comes from the first stage after OPENING."""

    OPENING = 0  # says that something follows, not what
    CAUSE = 1  # the check that failed; a BUG or WARNING of the generic kind follows
    HEADLINE = 2  # "BUG: …", "WARNING: …"
    DIE = 3  # the line with the oops number, "… [#1] SMP"


class Span(enum.Enum):
    """How far the report goes."""

    MARK = "to the line ---[ end trace, and the registers after it"
    RULE = "to the closing line of ====="
    TRACE = "to the end of its call trace"
    LINE = "this line only"


@dataclass(frozen=True)
class Row:
    """One way in which a report of this kind begins."""

    kind: str  # one of vocabulary.SPLAT_KINDS
    stage: Stage
    span: Span
    pattern: str  # regular expression, matched at the start of the line
    certain: bool = False  # only for lines that surely come from the kernel (see lines.py)


_OPEN, _CAUSE, _HEAD, _DIE = Stage.OPENING, Stage.CAUSE, Stage.HEADLINE, Stage.DIE
_MARK, _RULE, _TRACE, _LINE = Span.MARK, Span.RULE, Span.TRACE, Span.LINE

# x86 die(): "invalid opcode: 0000 [#1] SMP", since 6.10 with "Oops: " before it.
_TRAP = r"(?:Oops: )?(?:{}): [0-9a-f]{{4,16}} \[#\d+\]"
_LOCK_REPORT = (
    r"(?:possible (?:circular locking dependency|recursive locking|irq lock inversion dependency) detected"
    r"|.{1,40} lock (?:order|inversion dependency) detected"
    r"|inconsistent lock state|\S+-safe -> \S+-unsafe lock order detected|bad unlock balance detected"
    r"|bad contention detected|held lock freed|lock held when returning to user space|Nested lock was not taken"
    r"|lock held at task exit time|.{1,64} still has locks held|Inconsistent|hard-safe)"
)

# The first row that matches names the line: special ones stand before general ones.
ROWS: tuple[Row, ...] = (
    Row("panic", _HEAD, _MARK, r"Kernel panic - not syncing"),
    # Lines before the report proper.
    Row("warning", _OPEN, _MARK, r"-+\[ cut here \]-+"),
    Row("oops", _OPEN, _MARK, r"8<--- cut here ---"),  # arm
    Row("page-fault", _OPEN, _MARK, r"kernel tried to execute NX-protected page"),
    Row("page-fault", _OPEN, _MARK, r"unable to execute userspace code"),
    # Checks that name the cause and leave the rest to BUG() or WARN().
    Row("list-corruption", _CAUSE, _MARK, r"list_(?:add|del) (?:corruption|double add)\b"),
    Row("refcount", _CAUSE, _MARK, r"refcount_t: (?:underflow|saturated|addition on 0|decrement hit 0)"),
    Row("fortify", _CAUSE, _MARK, r"detected buffer overflow in \w+$"),  # before 6.9
    Row("fortify", _CAUSE, _MARK, r"\w+: detected buffer overflow: \d+ byte "),
    Row("fortify", _CAUSE, _MARK, r"\w+: detected field-spanning write \(size \d+\)"),
    Row("fortify", _CAUSE, _MARK, r"usercopy: Kernel memory (?:exposure|overwrite) attempt detected"),
    Row("cfi", _CAUSE, _MARK, r"(?:traps: )?Missing ENDBR: "),
    Row("cfi", _CAUSE, _MARK, r"CFI failure at "),
    # "ODEBUG: 3 of 3 active objects replaced" is no fault: every boot says it.
    Row(
        "debug-object",
        _CAUSE,
        _MARK,
        r"ODEBUG: (?:\w+ (?:active|inactive|not available|destroyed|init)|object )",
    ),
    Row("slab-leak", _CAUSE, _MARK, r"kmem_cache_destroy \S+: Slab cache still has objects"),
    Row("kobject", _CAUSE, _MARK, r"kobject: '.{0,64}' \([0-9a-fx]+\): is not initialized, yet"),
    Row("kobject", _HEAD, _TRACE, r"kobject: '.{0,64}' \([0-9a-fx]+\): tried to "),
    Row("kobject", _HEAD, _TRACE, r"kobject \([0-9a-fx]+\): tried to "),
    Row("lockdep", _CAUSE, _MARK, r"DEBUG_LOCKS_WARN_ON\("),
    Row("stack-overflow", _CAUSE, _MARK, r"Insufficient stack space to handle exception!"),  # arm64
    # Memory accesses.
    Row("null-deref", _HEAD, _MARK, r"BUG: kernel NULL pointer dereference, address: "),
    Row("null-deref", _HEAD, _MARK, r"BUG: unable to handle kernel NULL pointer dereference at "),  # x86 < 5.1
    Row("null-deref", _HEAD, _MARK, r"BUG: Kernel NULL pointer dereference (?:on|at) "),  # powerpc
    Row("null-deref", _HEAD, _MARK, r"Unable to handle kernel NULL pointer dereference at virtual address "),
    Row("page-fault", _HEAD, _MARK, r"BUG: unable to handle (?:page fault for address|kernel paging request)"),
    Row("page-fault", _HEAD, _MARK, r"BUG: Unable to handle kernel (?:data|instruction) access"),  # powerpc
    Row(
        "page-fault", _HEAD, _MARK, r"Unable to handle kernel .{1,80} at virtual address "
    ),  # arm, arm64, riscv
    Row(
        "null-deref", _HEAD, _MARK, r"CPU \d+ Unable to handle kernel paging request at virtual address 0{5}"
    ),  # mips
    Row("page-fault", _HEAD, _MARK, r"CPU \d+ Unable to handle kernel paging request at virtual address "),
    Row("page-fault", _HEAD, _MARK, r"Unable to handle kernel (?:paging request|access|unaligned)"),  # powerpc
    Row("page-fault", _HEAD, _MARK, r"Unhandled (?:fault|prefetch abort): "),  # arm
    Row("page-fault", _HEAD, _MARK, r"Unable to handle kernel pointer dereference in virtual kernel "),  # s390
    Row("stack-overflow", _HEAD, _MARK, r"BUG: (?:\S+ )?stack guard page was hit at "),
    Row("double-fault", _HEAD, _MARK, r"(?:traps: )?PANIC: double fault"),
    # Sanitizers.
    Row("kasan", _HEAD, _RULE, r"BUG: KAS[Aa][Nn]: "),
    Row("kfence", _HEAD, _RULE, r"BUG: KFENCE: "),
    Row("kmsan", _HEAD, _RULE, r"BUG: KMSAN: "),
    Row("kcsan", _HEAD, _RULE, r"BUG: KCSAN: "),
    Row("ubsan", _HEAD, _RULE, r"UBSAN: .{1,200} in "),
    Row("kmemleak", _HEAD, _LINE, r"kmemleak: \d+ new suspected memory leaks? "),
    Row("kmemleak", _HEAD, _TRACE, r"unreferenced object 0x[0-9a-f]+ \("),
    Row("kmemleak", _OPEN, _TRACE, r"BUG: memory leak$"),
    # Locks and contexts.
    Row("suspicious-rcu", _HEAD, _TRACE, r"(?:WARNING: |\[ INFO: |INFO: )suspicious RCU usage"),
    Row("lockdep", _HEAD, _TRACE, rf"(?:WARNING: |BUG: |\[ (?:BUG|INFO): ){_LOCK_REPORT}"),
    Row("lockdep", _HEAD, _TRACE, r"\[ BUG: Invalid wait context \]"),
    Row(
        "lockdep",
        _HEAD,
        _TRACE,
        r"INFO: (?:trying to register non-static key|possible .{1,80} detected|inconsistent lock state)",
    ),
    Row("lockdep", _HEAD, _TRACE, r"BUG: (?:MAX_LOCK|key \S+ |looking up invalid subclass)"),
    Row("sched-while-atomic", _HEAD, _TRACE, r"BUG: scheduling while atomic: "),
    Row("sched-while-atomic", _HEAD, _TRACE, r"BUG: sleeping function called from invalid context at "),
    Row("sched-while-atomic", _HEAD, _TRACE, r"BUG: using \S+ in preemptible "),
    Row("spinlock", _HEAD, _TRACE, r"BUG: (?:raw_)?(?:spinlock|rwlock) "),
    Row("workqueue", _HEAD, _TRACE, r"BUG: workqueue (?:leaked|lockup)"),
    # Something does not go on.
    Row("soft-lockup", _HEAD, _TRACE, r"(?:(?:NMI )?watchdog: )?BUG: soft lockup - CPU#\d+ stuck for "),
    Row(
        "hard-lockup",
        _HEAD,
        _TRACE,
        r"(?:(?:NMI )?[Ww]atchdog: )?(?:CPU\d+: |CPU \d+ )?(?:Watchdog detected hard LOCKUP "
        r"|self-detected hard LOCKUP)",
    ),
    Row(
        "hung-task",
        _HEAD,
        _TRACE,
        r"INFO: task .{1,64}:\d+ (?:<.{1,16}> )?blocked .{0,32}for more than \d+ seconds",
    ),
    Row(
        "hung-task",
        _HEAD,
        _TRACE,
        r"INFO: task .{1,64}:\d+ (?:<.{1,16}> )?(?:is )?blocked on an? .{1,32} owned by task",
    ),
    Row("rcu-stall", _HEAD, _TRACE, r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stalls? on "),
    Row("netdev-leak", _HEAD, _LINE, r"unregister_netdevice: waiting for \S+ to become free"),
    # Bookkeeping of memory, sysfs, interrupts.
    Row(
        "slab-leak",
        _HEAD,
        _TRACE,
        r"BUG [^(\n]{1,80} \((?:Tainted: |Not tainted)[^)]{0,80}\): Objects remaining ",
    ),
    Row("slab-corruption", _HEAD, _TRACE, r"BUG [^(\n]{1,80} \((?:Tainted: |Not tainted)[^)]{0,80}\): "),
    Row("slab-corruption", _HEAD, _TRACE, r"slab error in \w+\(\): "),
    Row("bad-page", _HEAD, _TRACE, r"BUG: Bad (?:page (?:state|map|cache)|rss-counter) "),
    Row("bad-page", _HEAD, _TRACE, r"BUG: non-zero pgtables_bytes on freeing mm"),
    Row("sysfs-duplicate", _HEAD, _TRACE, r"sysfs: cannot create duplicate filename "),
    Row("irq", _HEAD, _TRACE, r"irq \d+: nobody cared"),
    Row("module-init", _HEAD, _TRACE, r"do_init_module: '\S+'->init suspiciously returned "),
    Row("module-init", _HEAD, _LINE, r"\S+: init suspiciously returned -?\d+, it should"),  # 7.2
    # BUG() and WARN(). "WARNING: CPU: 0 PID: 1 at file:line symbol" up to 6.18, then
    # "WARNING: file:line at symbol, CPU#0: comm/1": Linux kernel commit 28ea295f941e (in v6.19).
    Row("bug", _HEAD, _MARK, r"kernel BUG at \S+:\d+!"),
    Row("warning", _HEAD, _MARK, r"WARNING: CPU: \d+ PID: \d+ at "),
    Row("warning", _HEAD, _MARK, r"(?:WARNING|Badness): (?:CPU: \d+ )?at \S+:\d+ "),  # before 3.12
    Row("warning", _HEAD, _MARK, r"WARNING: (?:\[.{1,300}\] )?(?:\S+:\d+ )?at \S.{0,300}, CPU#\d+: "),
    # The line with the oops number; it names the kind only where nothing before it did.
    Row(
        "general-protection",
        _DIE,
        _MARK,
        r"(?:Oops: )?(?:segment-related )?general protection fault\b.{0,120}: [0-9a-f]{4} \[#\d+\]",
    ),
    Row("bug", _DIE, _MARK, _TRAP.format("invalid opcode")),
    Row("bug", _DIE, _MARK, r"(?:Internal error: Oops - BUG: [0-9a-f]+|Kernel BUG) \[#\d+\]"),  # arm64, riscv
    Row("bug", _DIE, _MARK, r"(?:monitor event|illegal operation): [0-9a-f]{4} ilc:\d \[#\d+\]"),  # s390
    Row("bug", _DIE, _MARK, r"Oops: Exception in kernel mode, sig: 5 \[#\d+\]"),  # powerpc
    Row("divide", _DIE, _MARK, _TRAP.format("divide error")),
    Row("double-fault", _DIE, _MARK, _TRAP.format("double fault")),
    Row("stack-overflow", _DIE, _MARK, _TRAP.format("(?:kernel )?stack guard page|kernel stack overflow")),
    Row("cfi", _DIE, _MARK, _TRAP.format("control protection fault")),
    Row("cfi", _DIE, _MARK, r"Internal error: Oops - (?:CFI|BTI)\b.{0,80}\[#\d+\]"),
    Row("oops", _DIE, _MARK, r"(?:Internal error: |Oops\b|Bad mode in |Alignment trap: ).{0,160}\[#\d+\]"),
    Row(
        "oops", _OPEN, _MARK, r"(?:SError Interrupt on CPU\d+, code |Bad mode in .{1,40} handler detected)"
    ),  # arm64
    Row("oops", _DIE, _MARK, _TRAP.format("[a-z0-9][a-z0-9 -]*")),
    # Whatever else the kernel itself calls a bug at the start of a line.
    Row("bug-other", _HEAD, _TRACE, r"BUG: \S", certain=True),
    Row("bug-other", _HEAD, _TRACE, r"VFS: Busy inodes after unmount of ", certain=True),
)

_ANY = re.compile("|".join(f"(?P<row{number}>{row.pattern})" for number, row in enumerate(ROWS)))
# Nearly all lines of a log are ruled out by their first letters, at a tenth of the cost.
_WORTH_A_LOOK = re.compile(
    r"Kernel |kernel |-{4}|8<|unable |list_|refcount_t|detected |\w+: (?:detected |init susp|BUG|Watch"
    r"|INFO|PANIC|Missing)"
    r"|usercopy: |VFS: |traps: |Missing |CFI |ODEBUG: |DEBUG_LOCKS|Insufficient |BUG|Unable |CPU|Unhandled "
    r"|PANIC|UBSAN: |kmemleak: "
    r"|unreferenced |WARNING: |Badness: |\[ |INFO: |NMI |[Ww]atchdog|rcu: |unregister_|slab error|sysfs: "
    r"|irq |do_init_module"
    r"|invalid opcode|monitor event|illegal |Internal error|Oops|Bad mode|SError |Alignment |kobject"
    r"|kmem_cache_destroy"
    r"|[a-z][a-z0-9 -]{2,40}: [0-9a-f]{4,16} \[#|(?:segment-related )?general |.{0,8}self-detected"
)


def find_row(text: str, *, certain: bool) -> Row | None:
    """The row of the table that this line begins a report of, or None. certain: see Row."""
    if not _WORTH_A_LOOK.match(text):
        return None
    found = _ANY.match(text)
    if found is None:
        return None
    assert found.lastgroup is not None
    row = ROWS[int(found.lastgroup.removeprefix("row"))]
    return row if certain or not row.certain else None
