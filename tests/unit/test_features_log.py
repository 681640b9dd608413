# SPDX-License-Identifier: MIT
"""explain-log: what is printed, its exit codes, and source lines from a .ko of one's own."""

from __future__ import annotations

import io
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmod_harness.base.errors import Exit, UsageError
from kmod_harness.features.log.command import Request
from kmod_harness.features.log.explain import SCHEMA, explain, file_source
from kmod_harness.run.targets import Choice
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.frames import Frame
from kmod_harness.verdict.lifecycle import Verdict
from kmod_harness.verdict.source import ModuleFile, Symbols, parse_addr2line, with_source
from kmod_harness.verdict.splats import find_splats
from tests.front import Front
from tests.patience import SECONDS

GOLDEN = Path(__file__).parent / "golden"
SOURCE = """\
static inline int inner(volatile int *where)
{
	return *where;
}

__attribute__((noinline)) int gadget_read(volatile int *where)
{
	return inner(where) + 1;
}

__attribute__((noinline, section(".init.text"))) int gadget_init(volatile int *where)
{
	int sum = gadget_read(where);

	return sum * 2;
}
"""


@pytest.fixture(scope="module")
def ko(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object file that is a module's but for what loading needs."""
    folder = tmp_path_factory.mktemp("gadget")
    (folder / "gadget.c").write_text(SOURCE, encoding="utf-8")
    path = folder / "gadget.ko"
    subprocess.run(
        ["gcc", "-g", "-O2", "-fno-pic", "-c", str(folder / "gadget.c"), "-o", str(path)],
        check=True,
        timeout=SECONDS,
    )
    linked = folder / "linked.ko"
    subprocess.run(["ld", "-r", "--build-id=sha1", str(path), "-o", str(linked)], check=True, timeout=SECONDS)
    return linked.rename(path)


def frame(ko: Path, function: str, offset: int, **more: Any) -> Frame:
    (symbol,) = ModuleFile(ko).facts[0][function]
    return Frame(function, "gadget", offset=offset, size=min(symbol.sizes), **more)


def log_with(one: Frame) -> list[str]:
    build = f" {one.build}" if one.build else ""
    return [
        "[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "[    1.000001] CPU: 1 PID: 412 Comm: insmod Tainted: G           OE      6.12.9 #1",
        f"[    1.000002] RIP: 0010:{one.function}+0x{one.offset:x}/0x{one.size:x} [gadget{build}]",
        "[    1.000003] ---[ end trace 0000000000000000 ]---",
    ]


def told(lines: list[str], symbols: Symbols) -> str:
    out = io.StringIO()
    explain([("log", lambda: lines)], symbols, out, as_json=False)
    return out.getvalue()


def test_inlined_functions_are_a_chain(ko: Path) -> None:
    places = ModuleFile(ko).places(frame(ko, "gadget_read", 0), exact=True)
    where = [(place.function, Path(place.file).name, place.inlined) for place in places]
    assert where[-1] == ("gadget_read", "gadget.c", False)
    text = told(log_with(frame(ko, "gadget_read", 1)), Symbols([ModuleFile(ko)]))
    assert "gadget.c:" in text
    assert re.search(r"^   > +\d+ \| ", text, re.MULTILINE)


def test_return_address_is_in_the_line_of_the_call(ko: Path) -> None:
    disassembled = subprocess.run(
        ["objdump", "-d", "-j", ".init.text", str(ko)],
        check=True,
        timeout=SECONDS,
        capture_output=True,
        text=True,
        encoding="utf-8",
    ).stdout
    call = next(line for line in disassembled.splitlines() if "call" in line or "jmp" in line)
    after = int(call.split(":")[0], 16) + len(re.findall(r"\b[0-9a-f]{2}\b", call.split("\t")[1]))
    (place,) = ModuleFile(ko).places(frame(ko, "gadget_init", after), exact=False)
    assert (place.function, place.line) == ("gadget_init", 13)


def test_function_of_another_size_is_not_from_this_ko(ko: Path) -> None:
    other = Frame("gadget_read", "gadget", offset=1, size=0x999)
    text = told(log_with(other), Symbols([ModuleFile(ko)]))
    assert "is not the .ko that crashed: it has no gadget_read+0x1/0x999" in text
    assert "gadget.c" not in text


def test_other_build_id_is_not_from_this_ko(ko: Path) -> None:
    build = ModuleFile(ko).facts[1]
    assert build
    mine, other = frame(ko, "gadget_read", 1, build=build), frame(ko, "gadget_read", 1, build="0" * 40)
    assert "gadget.c" in told(log_with(mine), Symbols([ModuleFile(ko)]))
    text = told(log_with(other), Symbols([ModuleFile(ko)]))
    assert f"is not the .ko that crashed: build id {build}, the log has {'0' * 40}" in text


def test_other_sources_than_those_of_the_loaded_module(ko: Path, tmp_path: Path) -> None:
    info, built = tmp_path / "modinfo", tmp_path / "gadget.ko"
    info.write_bytes(b"license=GPL\0srcversion=ABC123\0")
    command = ["objcopy", "--add-section", f".modinfo={info}", str(ko), str(built)]
    subprocess.run(command, check=True, timeout=SECONDS)
    lines, module = log_with(frame(ko, "gadget_read", 1)), ModuleFile(built)
    assert "gadget.c" in told(lines, Symbols([module], {"gadget": "ABC123"}))
    assert "gadget.c" in told(lines, Symbols([module], {"gadget": ""}))  # not loaded any more
    text = told(lines, Symbols([module], {"gadget": "DEF456"}))
    assert "is not the .ko that is loaded: srcversion ABC123, the loaded one has DEF456" in text
    assert "gadget.c" not in text


def test_ko_without_debug_info_says_so(ko: Path, tmp_path: Path) -> None:
    bare = tmp_path / "gadget.ko"
    subprocess.run(["strip", "--strip-debug", str(ko), "-o", str(bare)], check=True, timeout=SECONDS)
    assert "has no debug info" in told(log_with(frame(ko, "gadget_read", 1)), Symbols([ModuleFile(bare)]))


def test_ko_of_another_module_is_told(ko: Path) -> None:
    lines = [line.replace("[gadget]", "[widget]") for line in log_with(frame(ko, "gadget_read", 1))]
    assert "none of the .ko given is widget: gadget" in told(lines, Symbols([ModuleFile(ko)]))


def test_what_is_no_module(tmp_path: Path) -> None:
    path = tmp_path / "gadget.ko"
    path.write_text("no ELF file", encoding="utf-8")
    with pytest.raises(UsageError, match="is no kernel module"):
        _ = ModuleFile(path).facts


def test_answers_of_addr2line() -> None:
    text = "inner\n/src/a.c:3 (discriminator 2)\nouter\n/src/a.c:8\n??\n??:0\n"
    assert [(p.function, p.file, p.line, p.inlined) for p in parse_addr2line(text)] == [
        ("inner", "/src/a.c", 3, True),
        ("outer", "/src/a.c", 8, False),
    ]
    assert [place.line for place in parse_addr2line("f\na.c:?\n")] == [None]


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (["[    1.000000] usb 1-1: fine"], Exit.OK, "clean: no report in 1 lines"),
        (["[    1.000000] kernel BUG at a.c:1!"] * 2, Exit.CHECK_FAILED, "bug: a.c:1 (1.000000 s, 2 times)"),
        (["Dear all,"], Exit.NO_VERDICT, "not understood"),
        ([], Exit.NO_VERDICT, "not understood: it is empty"),
    ],
)
def test_exit_codes(lines: list[str], code: Exit, words: str) -> None:
    out = io.StringIO()
    assert explain([("log", lambda: lines)], Symbols(()), out, as_json=False) is code
    assert words in out.getvalue()


def test_a_report_in_one_file_outweighs_what_was_not_understood() -> None:
    bug = ["[    1.000000] kernel BUG at a.c:1!"]
    sources = [("one", lambda: ["?"]), ("two", lambda: bug)]
    assert explain(sources, Symbols(()), io.StringIO(), as_json=False) is Exit.CHECK_FAILED


def test_json(ko: Path) -> None:
    out = io.StringIO()
    source = file_source(str(GOLDEN / "hand-kasan-in-interrupt.log"))
    explain([source], Symbols([ModuleFile(ko)]), out, as_json=True)
    told = json.loads(out.getvalue())
    assert told["schema"] == SCHEMA
    (log,) = told["logs"]
    (report,) = log["reports"]
    assert (report["class"], report["subclass"]) == ("kasan", "slab-use-after-free read of size 8")
    assert (report["module"], report["function"], report["context"]) == ("broken", "broken_tick", "irq")
    assert report["at"]["offset"] == 0x3C
    assert [(one["role"], one["function"], one["module"]) for one in report["origins"]] == [
        ("allocated", "broken_open", "broken"),
        ("freed", "other_release", "other"),
    ]
    assert report["frames"][0]["passed_over"] == "reporter"


def test_page_tells_every_key_of_the_json(ko: Path) -> None:
    out = io.StringIO()
    explain(
        [("log", lambda: log_with(frame(ko, "gadget_read", 1)))], Symbols([ModuleFile(ko)]), out, as_json=True
    )
    page = (Path(__file__).parents[2] / "docs" / "explain-log.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", page))

    def keys(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys, value))
        return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()

    assert keys(json.loads(out.getvalue())["logs"]) <= told
    assert f'"{SCHEMA}"' in page


def test_nobody_is_named_for_a_bare_address() -> None:
    out = io.StringIO()
    explain([file_source(str(GOLDEN / "hand-timer-of-a-gone-module.log"))], Symbols(()), out, as_json=False)
    assert "no module: nobody who is known" in out.getvalue()
    assert "innocent" not in out.getvalue()


def test_verdict_of_a_run_names_the_line(ko: Path) -> None:
    (splat,) = find_splats(log_with(frame(ko, "gadget_read", 1)))
    failed = Verdict(Outcome.CRASHED, ("a splat",), (splat,), splat.lines[:3])
    told = with_source(failed, Symbols([ModuleFile(ko)])).evidence
    assert "gadget.c:" in told[0]
    assert told[-3:] == failed.evidence
    other = replace(failed, evidence=("a line of the console",))
    assert with_source(other, Symbols([ModuleFile(ko)])) == other


def test_what_is_asked_for() -> None:
    with pytest.raises(UsageError, match="want a FILE"):
        Request()
    with pytest.raises(UsageError, match="want one of them"):
        Request(files=("a",), board=Choice(local=True))


@pytest.fixture
def front(tmp_path: Path) -> Front:
    """The command, with a cache of its own."""
    for name in ("folder", "cache", "scratch"):
        (tmp_path / name).mkdir()
    return Front(tmp_path / "folder", tmp_path / "cache", tmp_path / "scratch")


def test_command_takes_several_files(front: Front) -> None:
    clean = front.folder / "clean log"
    clean.write_text("[    1.000000] usb 1-1: fine\n", encoding="utf-8")
    done = front.run("explain-log", "clean log", str(GOLDEN / "hand-kasan.log"), "--json")
    assert done.returncode == Exit.CHECK_FAILED, done.output
    assert [len(log["reports"]) for log in json.loads(done.output)["logs"]] == [0, 1]


def test_command_reads_a_pipe_and_tells_what_it_cannot_read(front: Front) -> None:
    done = front.run("explain-log", "-", stdin=b"[    1.000000] usb 1-1: fine\n")
    assert (done.returncode, done.output) == (Exit.OK, "standard input: clean: no report in 1 lines\n")
    done = front.run("explain-log", str(front.folder))
    assert done.returncode == Exit.USAGE
    assert "is a folder" in done.output
    assert "Traceback" not in done.output
