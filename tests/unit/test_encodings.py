# SPDX-License-Identifier: MIT
"""Text is UTF-8 in every file that we read and write, whatever the locale."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kmod_harness
from kmod_harness.base import process
from kmod_harness.kernels.arch import host_arch
from tests.front import make_front
from tests.patience import patient

ROOT = Path(__file__).parents[2]
OUR_CODE = (Path(kmod_harness.__file__).parent, *(ROOT / name for name in ("benchmarks", "docs", "tests")))
OPENERS = ("open", "fdopen", "read_text", "write_text", "NamedTemporaryFile", "TemporaryFile", "TextIOWrapper")
ELSEWHERE = ("os", "tarfile", "context")  # what their open() opens is no text
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ARROW = "\N{RIGHTWARDS ARROW}"


def without_encoding(source: str) -> Iterator[str]:
    """The calls that open text in whatever encoding the locale names."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        of = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = {keyword.arg for keyword in node.keywords}
        texts = node.args if name in ("read_text", "write_text") else []  # no mode, whatever is written
        modes = [*node.args[len(texts) :], *(word.value for word in node.keywords if word.arg == "mode")]
        binary = any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
        opens = name in OPENERS and of not in (*ELSEWHERE, "self._benchmark")
        starts = any(ast.unparse(word) in ("text=True", "universal_newlines=True") for word in node.keywords)
        by_default = name in ("NamedTemporaryFile", "TemporaryFile") and not modes  # opened as bytes
        if "encoding" not in words and (starts or (opens and not by_default and not binary)):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("path.write_text(text, errors='replace')", True),
        ("path.write_text('obj-m := a.o')", True),
        ("path.open()", True),
        ("open('a', mode='w')", True),
        ("subprocess.run(argv, text=True)", True),
        ("tempfile.NamedTemporaryFile('w')", True),
        ("path.open('rb', buffering=0)", False),
        ("open('a', encoding='utf-8')", False),
        ("tempfile.TemporaryFile()", False),
        ("os.open(path, os.O_RDONLY)", False),
    ],
)
def test_a_call_without_an_encoding_is_found(source: str, found: bool) -> None:
    assert bool(list(without_encoding(source))) is found


def test_every_text_file_is_opened_with_an_encoding() -> None:
    found = {
        f"{path}: {call}"
        for folder in OUR_CODE
        for path in folder.rglob("*.py")
        for call in without_encoding(path.read_text(encoding="utf-8"))
    }
    assert found == set(), 'say encoding="utf-8"'


def test_what_a_compiler_prints_is_kept_in_an_ascii_locale(tmp_path: Path) -> None:
    script = r"""
import sys
from pathlib import Path
from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.kernels.arch import host_arch
from kmod_harness.report.text import show_everything
printf = ["printf", r"a \342\206\222 b\n"]
done = process.run(printf, deadline=Deadline(300, "printf"), log_to=Path("log"))
show_everything(sys.stdout)
print(done.output)
"""
    argv = [sys.executable, "-c", script]
    done = process.run(argv, deadline=patient("python"), cwd=tmp_path, env=os.environ | ASCII)
    assert (tmp_path / "log").read_text(encoding="utf-8") == f"a {ARROW} b\n"
    assert done.output.strip() == "a \\u2192 b"


@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bwrap", "make", "gcc")),
    reason="needs bwrap, make and gcc (invoke doctor)",
)
def test_a_build_that_prints_an_arrow_is_no_defect_of_the_harness(tmp_path: Path) -> None:
    front = make_front(tmp_path)
    version = process.run(["gcc", "-dumpversion"], deadline=patient("gcc")).output.strip()
    tree = {
        "Makefile": f"modules:\n\t@echo '{ARROW} here'; exit 1\n",
        "Module.symvers": "",
        host_arch().image: "",
        "include/generated/utsrelease.h": '#define UTS_RELEASE "6.99.0"\n',
        "include/config/auto.conf": f'# {ARROW}\nCONFIG_CC_VERSION_TEXT="gcc (Debian) {version}.1.0"\n',
        f"arrow{ARROW}/Kbuild": f"# {ARROW}\nobj-m := arrow.o\n",
        f"arrow{ARROW}/arrow.c": f"/* {ARROW} */\n",
        f"arrow{ARROW}/module.yaml": f"# {ARROW}\nparams: {{}}\n",
    }
    for name, text in tree.items():
        path = tmp_path / "tree" / os.fsdecode(name.encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    module = str(tmp_path / "tree" / os.fsdecode(f"arrow{ARROW}".encode()))
    words = ("build", "--kernel", str(tmp_path / "tree"), "--module", module)
    done = front.run(*words, stdin=None, **ASCII)
    assert "\\u2192 here" in done.output
    assert "defect of the harness" not in done.output
    assert done.returncode == 1
