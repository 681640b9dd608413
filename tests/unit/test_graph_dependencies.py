# SPDX-License-Identifier: MIT
"""The graph of modules: what is told about it, in which order modules can go, and how it is drawn."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.features.graph.command import check_output, draw, unload_order
from kmod_harness.features.graph.dependencies import Links, ModuleGraph
from kmod_harness.features.graph.drawing import TEXTS, dot, mermaid
from kmod_harness.features.graph.view import View
from kmod_harness.features.rescue.explain import explained, parse_links
from kmod_harness.target.proc import parse_modules
from kmod_harness.target.runner import Result
from tests.unit.fake_target import FakeTarget

GOLDEN = Path(__file__).parent / "golden" / "graph"
PROC_MODULES = (
    "states 16384 0 - Live 0x0 (OE)\n"
    "depend_b 16384 0 - Live 0x0 (OE)\n"
    "depend_a 16384 0 - Live 0x0 (OE)\n"
    "depend_s 16384 3 depend_b,depend_a, Live 0x0 (OE)\n"
    "vms 16384 1 - Loading 0x0 (OE+)\n"
    "old 16384 -1 - Unloading 0x0 (OE-)\n"
    "stay 16384 0 [permanent], Live 0x0\n"
    "net 20480 5 - Live 0x0\n"
)
GRAPH = ModuleGraph(parse_modules(PROC_MODULES), {"net": ("nginx (812), a socket",)})


@pytest.mark.parametrize("suffix", TEXTS)
def test_texts(suffix: str) -> None:
    assert TEXTS[suffix](GRAPH) == (GOLDEN / f"all{suffix}").read_text(encoding="utf-8")


def test_awkward_names_are_quoted() -> None:
    graph = ModuleGraph(parse_modules("end 1 1 - Live 0x0\n"), {"end": ('a "b" \\ <c> \x1b[31m#',)})
    assert r'"a \"b\" \\ <c> #"' in dot(graph)
    assert 'm_end_1(["a #quot;b#quot; \\ #lt;c#gt; #35;"])' in mermaid(graph)


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
@pytest.mark.parametrize(("suffix", "begin"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_pictures(tmp_path: Path, suffix: str, begin: bytes) -> None:
    file = tmp_path / f"all{suffix}"
    draw(GRAPH, file)
    assert file.read_bytes().startswith(begin)
    assert list(tmp_path.iterdir()) == [file]


def test_a_picture_needs_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"Graphviz.*not installed") as raised:
        check_output(tmp_path / "all.svg")
    assert ".mmd" in str(raised.value)
    check_output(tmp_path / "all.mmd")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("all.gif", "--output"), ("all", "--output"), ("nosuch/all.svg", "no folder"), (".", "--output")],
)
def test_an_output_that_cannot_be(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_output(tmp_path / name)


def test_holders_that_are_no_modules() -> None:
    assert GRAPH.unnamed_holders("depend_s") == 1
    assert GRAPH.other_holders("depend_s") == ("1 holder that is no module",)
    assert GRAPH.other_holders("net") == ("nginx (812), a socket", "4 holders that are no module")
    assert GRAPH.other_holders("vms") == ("its own init, which has not returned",)
    assert GRAPH.other_holders("old") == GRAPH.other_holders("states") == ()


def test_around() -> None:
    assert set(GRAPH.around(["depend_a"]).modules) == {"depend_a", "depend_s"}
    assert set(GRAPH.around(["depend_s"]).modules) == {"depend_a", "depend_b", "depend_s"}
    assert set(GRAPH.around(["depend_b", "net"]).modules) == {"depend_b", "depend_s", "net"}
    assert GRAPH.around(["net"]).holders == GRAPH.holders
    assert GRAPH.around(["stay"]).holders == {}


LADDER = ModuleGraph(
    parse_modules(
        "a 1 0 - Live 0x0\nb 1 1 a, Live 0x0\nc 1 2 a,b, Live 0x0\nd 1 1 c, Live 0x0\nx 1 0 - Live 0x0\n"
    )
)


def test_order() -> None:
    assert LADDER.unload_order("d") == ("a", "b", "c", "d")
    assert LADDER.unload_order("b") == ("a", "b")
    assert LADDER.unload_order("x") == ("x",)


def test_wrong_names() -> None:
    with pytest.raises(UsageError, match="no module nosuch"):
        GRAPH.unload_order("nosuch")
    with pytest.raises(UsageError, match="depend_s"):
        GRAPH.around(["depend-s"])


def test_a_ring_is_told() -> None:
    ring = ModuleGraph(parse_modules("a 1 1 b, Live 0x0\nb 1 1 a, Live 0x0\n"))
    with pytest.raises(HarnessError, match=r"ring: (a -> b -> a|b -> a -> b)"):
        ring.unload_order("a")
    assert set(ring.around(["a"]).modules) == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "obstacles"),
    [
        ("depend_a", ()),
        ("depend_s", ("held by 1 holder that is no module",)),
        ("vms", ("its state is Loading", "held by its own init, which has not returned")),
        ("old", ("its state is Unloading",)),
        ("stay", ("it has no exit function",)),
    ],
)
def test_obstacles(name: str, obstacles: tuple[str, ...]) -> None:
    assert GRAPH.obstacles(name) == obstacles


def test_links_of_the_kernel_itself() -> None:
    """Users come from source_list, what is used from target_list; other holders are named."""
    graph = ModuleGraph(parse_modules("a 1 0 - Live 0x0\ns 1 3 - Live 0x0\nt 1 0 - Live 0x0\n"))
    held = ("pid 7, sleep, descriptor 3, /dev/s",)
    known = graph.with_links({"s": Links(("a",), ("t",), held), "gone": Links((), (), ())})
    assert (known.modules["s"].users, known.modules["t"].users) == (("a",), ("s",))
    assert known.other_holders("s") == (*held, "1 holder that is no module")
    assert graph.modules["s"].users == ()


def told(**keys: object) -> str:
    """What the program prints."""
    return json.dumps({"outcome": "explained", "used_by": [], "uses": [], "holders": [], **keys})


def test_what_explain_tells() -> None:
    holders = [{"kind": "file", "pid": 7, "text": "pid 7, sleep, descriptor 3, /dev/s"}]
    links = parse_links(told(used_by=["a"], uses=["t"], holders=holders))
    assert links == Links(("a",), ("t",), ("pid 7, sleep, descriptor 3, /dev/s",))
    assert parse_links(told(outcome="refused")) is None  # gone meanwhile
    with pytest.raises(HarnessError, match="what was found was not told"):
        parse_links(told(outcome="failed", reason="what was found was not told"))
    for output in ("", "[]", "{}", told(holders=[1]), "sh: not found"):
        with pytest.raises(HarnessError, match="no answer"):
            parse_links(output)


def test_only_what_is_unclear_is_asked_for() -> None:
    graph = ModuleGraph(parse_modules(PROC_MODULES))
    asked = []

    def ask(name: str) -> Result:
        asked.append(name)
        return Result((), 0, told())

    explained(graph, ("states",), ask)
    assert asked == ["depend_s", "net", "states", "vms"]


class Stubborn(FakeTarget):
    """A kernel in which `refuse` cannot be unloaded."""

    refuse = ""

    def unload(self, name: str, **_: object) -> str:
        return "EBUSY" if name == self.refuse else super().unload(name)


THREE = "a 1 0 - Live 0x0\nb 1 0 - Live 0x0\ns 1 2 a,b, Live 0x0\n"


def test_unloading_stops_at_a_refusal() -> None:
    out = io.StringIO()
    target = Stubborn(THREE)
    target.refuse = "b"
    assert unload_order(View(target), "s", out, do=True) == Exit.CHECK_FAILED
    assert set(target.modules()) == {"b", "s"}
    assert out.getvalue() == "1. rmmod a\n2. rmmod b\n3. rmmod s\na: unloaded\nb: EBUSY\n"


def test_nothing_is_unloaded_unless_asked() -> None:
    target = FakeTarget(THREE)
    out = io.StringIO()
    assert unload_order(View(target), "s", io.StringIO(), do=False) == Exit.OK
    assert set(target.modules()) == {"a", "b", "s"}
    assert unload_order(View(target), "s", out, do=True) == Exit.OK
    assert not target.modules()
    assert out.getvalue().endswith("a: unloaded\nb: unloaded\ns: unloaded\n")


def test_nothing_is_unloaded_when_the_end_cannot_be_reached() -> None:
    out = io.StringIO()
    target = FakeTarget(PROC_MODULES)
    assert unload_order(View(target), "depend_s", out, do=True) == Exit.CHECK_FAILED
    assert set(target.modules()) == set(GRAPH.modules)
    assert "3. rmmod depend_s  (held by 1 holder that is no module)" in out.getvalue()
