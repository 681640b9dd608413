# SPDX-License-Identifier: MIT
"""What README.md and docs/ say is so: commands, links, examples, the recorded terminal."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.module.manifest import parse_manifest
from tests.docs_commands import HERE, IN_A_MACHINE, NOT_RUN, PAGES, ROOT, blocks, commands
from tests.front import make_front
from tests.patience import patient

LANGUAGES = {"console", "yaml", "toml", "python", "mermaid", "text"}
EXAMPLES = ROOT / "docs" / "examples"
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
MAKES = sorted({one.text for one in commands() if one.prompt == "$" and one.text.startswith("make ")})


def test_how_each_command_is_tried_is_known() -> None:
    on_a_machine = {one.text for one in commands() if one.prompt == "#"}
    typed = {one.text for one in commands() if one.prompt == "$"} - set(MAKES)
    typed |= on_a_machine & set(NOT_RUN)  # the rest is run by tests/vm/test_docs_commands.py
    assert typed == {*HERE, *IN_A_MACHINE, *NOT_RUN}
    assert len(typed) == len(HERE) + len(IN_A_MACHINE) + len(NOT_RUN)


@pytest.mark.parametrize("command", HERE)
def test_a_command_that_needs_no_machine(command: str, tmp_path: Path) -> None:
    program, *words = shlex.split(command)
    assert program == "kmod-harness"
    done = make_front(tmp_path).run(*words)
    assert done.returncode in HERE[command], done.output


@pytest.mark.parametrize("command", MAKES)
def test_make_knows_what_to_do(command: str, tmp_path: Path) -> None:
    """Also where the tree of a kernel is not there, which a build needs first of all."""
    (tmp_path / "Makefile").write_text("%: ;\n", encoding="utf-8")
    _, *words = shlex.split(command)
    tree = [f"KDIR={tmp_path}"] if "-C" in words and "KDIR" not in command else []
    done = process.run(["make", "-n", *words, *tree], cwd=ROOT, deadline=patient("make"), check=False)
    assert done.returncode == 0, done.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_hides_in_another_block(page: Path) -> None:
    for language, text in blocks(page):
        assert language in {*LANGUAGES, "", "text"}
        if language in ("", "text"):  # a drawing, or output
            assert (
                re.search(r"^([$#] |make |insmod |(kmod-harness|invoke|pytest) [a-z-])", text, re.MULTILINE)
                is None
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index] == []


def test_examples_are_files() -> None:
    """Which are tried: those that pages show are the same."""
    python = (EXAMPLES / "test_my_driver.py").read_text(encoding="utf-8")
    manifest = (EXAMPLES / "my_driver" / "module.yaml").read_text(encoding="utf-8")
    shown = [block for page in PAGES for block in blocks(page)]
    parts = [text for language, text in shown if language == "python"]
    assert python.partition("\n")[2] in parts
    assert [text for text in parts if text not in python] == []
    assert manifest.partition("\n")[2] in {text for language, text in shown if language == "yaml"}
    for language, text in shown:
        if language == "yaml":
            parse_manifest(text, "module.yaml")


def test_the_picture_and_the_recorded_text_are_of_one_run() -> None:
    svg = (ROOT / "docs" / "vm-test.svg").read_text(encoding="utf-8")
    seen = re.sub(r"\s+", "", html.unescape(re.sub(r"<[^>]+>", "", svg)).replace("\N{NO-BREAK SPACE}", ""))
    (recorded,) = (
        one for one in commands(ROOT / "README.md") if one.text.endswith("./my_driver --kernel 6.12")
    )
    assert len(recorded.output) > 5
    assert [line for line in recorded.output if re.sub(r"\s+", "", line) not in seen] == []
