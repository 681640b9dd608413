# SPDX-License-Identifier: MIT
"""From a number to a module: what it registers, where its objects lie, and how it dies."""

from __future__ import annotations

import random
from dataclasses import dataclass
from string import Template

from tests.chaos.kinds import HEADERS, KINDS, Kind

DEATHS = {
    "null": "*(volatile int *)NULL = 1;",
    "bug": "BUG();",
    "wild": "*(volatile int *)0xdead000000000000UL = 1;",
    "jump": "((void (*)(void))0)();",
}
# Where an object of type T lies: its variables, an expression for it, and what makes it.
PLACES = {
    "static": ("static $T ${n}_o;", "(&${n}_o)", "memset(&${n}_o, 0, sizeof(${n}_o));"),
    "array": ("static $T ${n}_a[4];", "(&${n}_a[2])", "memset(${n}_a, 0, sizeof(${n}_a));"),
    "kept": (
        "static $T *${n}_p;",
        "${n}_p",
        "${n}_p = kzalloc(sizeof($T), GFP_KERNEL); if (!${n}_p) return -ENOMEM;",
    ),
    "list": (
        "static LIST_HEAD(${n}_list); struct ${n}_node { struct list_head on; $T o; };",
        "(&list_first_entry(&${n}_list, struct ${n}_node, on)->o)",
        """{ struct ${n}_node *node = kzalloc(sizeof(*node), GFP_KERNEL); if (!node) return -ENOMEM;
INIT_LIST_HEAD(&${n}_list); list_add(&node->on, &${n}_list); }""",
    ),
    # Nobody but the kernel knows it: what is kept is not its address.
    "alone": (
        "static unsigned long ${n}_h;",
        "(($T *)~${n}_h)",
        "${n}_h = ~(unsigned long)kzalloc(sizeof($T), GFP_KERNEL); if (!~${n}_h) return -ENOMEM;",
    ),
}
# In what the module holds when it dies.
HELD = ("", "", "", "rcu_read_lock();", "mutex_lock(&chaos_mutex);", "preempt_disable();")


@dataclass(frozen=True)
class Case:
    """One module: its C text and what it is made of."""

    seed: int
    kinds: tuple[str, ...]
    death: str
    text: str

    def __str__(self) -> str:
        return f"{self.seed}: {' '.join(self.kinds)}; {self.death}"


def _place(kind: Kind, name: str, place: str) -> tuple[str, str, str]:
    """Variables, an expression for the object, and what makes it."""
    if kind.keeps:
        return f"static {kind.keeps} *{name}_p;", f"{name}_p", ""
    if not kind.type:
        return "", "NULL", ""
    variables, at, make = (Template(text).substitute({"n": name, "T": kind.type}) for text in PLACES[place])
    return variables, at, make


def _thing(number: int, kind: Kind, place: str, size: int) -> str:
    name = f"chaos{number}_{kind.name}"
    variables, at, make = _place(kind, name, place)
    words = {"n": name, "at": at, "size": str(size)}
    code, start, stop = (Template(text).substitute(words) for text in (kind.code, kind.start, kind.stop))
    return f"""{variables}
{code}
static int {name}_start(void)
{{
{make}
{start}
}}
static void {name}_stop(void)
{{
{stop}
}}
"""


def generate(seed: int) -> Case:
    """The module of a number."""
    chance = random.Random(seed)
    kinds = chance.sample(KINDS, chance.randint(1, 5))
    places = [chance.choice(sorted(PLACES)) for _ in kinds]
    death, held = chance.choice(sorted(DEATHS)), chance.choice(HELD)
    at = chance.randint(max(0, len(kinds) - 2), len(kinds))
    names = [f"chaos{number}_{kind.name}" for number, kind in enumerate(kinds)]
    things = "".join(
        _thing(number, kind, place, chance.choice((64, 200, 1024, 4096)))
        for number, (kind, place) in enumerate(zip(kinds, places, strict=True))
    )
    own = "__module_get(THIS_MODULE);" if chance.random() < 0.1 else ""
    steps = "".join(
        f"if (fault == {number}) {{ {held} {own} {DEATHS[death]} }}\n"
        f"ret = {name}_start(); if (ret) return ret;\n"
        for number, name in enumerate(names)
    )
    stops = "".join(f"{name}_stop();\n" for name in reversed(names))
    text = f"""// SPDX-License-Identifier: GPL-2.0-only
{HEADERS}
static int fault = {at};
module_param(fault, int, 0444);
static bool nothing;
module_param(nothing, bool, 0444);
static DEFINE_MUTEX(chaos_mutex);
{things}
static int __init chaos_init(void)
{{
	int ret;

	if (nothing) {{ mutex_lock(&chaos_mutex); mutex_unlock(&chaos_mutex); return 0; }}
{steps}
	if (fault == {len(names)}) {{ {held} {own} {DEATHS[death]} }}
	return 0;
}}
static void __exit chaos_exit(void)
{{
	if (nothing) return;
{stops}
}}
module_init(chaos_init);
module_exit(chaos_exit);
MODULE_DESCRIPTION("A random module that gets stuck");
MODULE_LICENSE("GPL");
"""
    made = tuple(f"{kind.name}@{place}" for kind, place in zip(kinds, places, strict=True))[:at]
    return Case(seed, made, death, text)
