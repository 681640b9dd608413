# SPDX-License-Identifier: MIT
"""kmod-harness.toml and [tool.kmod-harness]: what holds, where it comes from, and what is told of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.base.deadline import FACTOR_VARIABLE
from kmod_harness.base.errors import Exit, UsageError
from kmod_harness.front.configuration import CONFIGURABLE, configured, describe, find_configuration
from kmod_harness.front.options import PYTEST, options_of, read
from tests.front import make_front
from tests.unit.test_front import PLUGIN, run_pytest

WHOLE = """
[tool.kmod-harness]
kernel = ["5.10", ">=6.12"]
module = ["driver", "vms"]
reloads = 5
guard = true
machine = "microvm"
timeout-factor = 2.5
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "driver" / "src").mkdir(parents=True)
    return tmp_path


def write(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def nothing_typed(command: str) -> dict[str, object]:
    return {option.key: None for option in options_of(command)}


def test_the_nearest_file_counts(project: Path) -> None:
    file = write(project, WHOLE)
    assert find_configuration(project / "driver" / "src").file == file
    write(project / "driver", "[tool.other]\nx = 1\n")
    assert find_configuration(project / "driver").file == file  # that one says nothing of us
    own = write(project / "driver", 'kernel = ["6.1"]\n', "kmod-harness.toml")
    assert find_configuration(project / "driver" / "src").file == own
    assert find_configuration(project / "driver").values == {"kernels": ("6.1",)}


def test_a_broken_file_of_somebody_else_is_left_alone(project: Path) -> None:
    write(project, "[tool.kmod-harness\n")
    assert find_configuration(project).file is None


@pytest.mark.parametrize("command", ["vm-test", "build", "shell", "graph", "clean", PYTEST])
def test_each_command_takes_its_part(project: Path, command: str) -> None:
    write(project, WHOLE)
    values = find_configuration(project).values
    given = read(command, nothing_typed(command), values)
    taken = {option.name for option in options_of(command)}
    expected = {
        "kernels": ("5.10", ">=6.12"),
        "modules": (str(project / "driver"), "vms"),  # a path is meant from where the file is
        "reloads": 5,
        "guard": True,
        "machine": "microvm",
    }
    for name, value in expected.items():
        if name in taken:
            assert getattr(given, name) == value


def test_what_is_typed_counts_for_more(project: Path) -> None:
    write(project, WHOLE)
    typed = nothing_typed("vm-test") | {"kernel": ["7.3"], "reloads": "2"}
    given = read("vm-test", typed, find_configuration(project).values)
    assert (given.kernels, given.reloads, given.machine) == (("7.3",), 2, "microvm")


@pytest.mark.parametrize("environment", ["", "7"])
def test_the_environment_counts_for_more(
    project: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    file = write(project, WHOLE)
    monkeypatch.chdir(project)
    monkeypatch.setenv(FACTOR_VARIABLE, environment)
    if not environment:
        monkeypatch.delenv(FACTOR_VARIABLE)
    rows = {key: (value, origin) for key, value, origin in describe(configured())}
    assert rows["timeout-factor"] == (("7", FACTOR_VARIABLE) if environment else ("2.5", str(file)))
    assert rows["reloads"] == ("5", str(file))
    assert rows["accel"] == ("auto", "default")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('kernl = ["6.12"]', "kernl: unknown key; did you mean kernel?"),
        ("output = 3", "output: unknown key; known: kernel, module"),
        ('kernel = "6.12"', "kernel: want a list of texts"),
        ("kernel = [6.12]", "kernel: want a list of texts"),
        ("kernel = []", "kernel: want a list of texts"),
        ('kernel = [""]', "the value is empty"),
        ("reloads = 0", "want 1 or more"),
        ('reloads = "3"', "reloads: want a whole number"),
        ("reloads = true", "reloads: want a whole number"),
        ("guard = 1", "guard: want true or false"),
        ('accel = "hvf"', "choose auto, kvm or tcg"),
        ("timeout-factor = 0", "timeout-factor: want a number above 0"),
        ("timeout-factor = nan", "timeout-factor: want a number above 0"),
        ("x = [", "Invalid value"),
    ],
)
def test_mistakes_are_told(project: Path, line: str, message: str) -> None:
    file = write(project, line + "\n", "kmod-harness.toml")
    with pytest.raises(UsageError) as caught:
        find_configuration(project)
    assert str(file) in caught.value.message
    assert message in caught.value.message
    assert caught.value.hint == "correct kmod-harness.toml"


def test_both_fronts_read_it(tmp_path: Path) -> None:
    front = make_front(tmp_path)
    write(front.folder, 'kernel = ["./nowhere"]\n', "kmod-harness.toml")
    for folder in ("plain",):
        (front.folder / folder).mkdir()
        (front.folder / folder / "Kbuild").write_text("obj-m := plain.o\n", encoding="utf-8")
    done = front.run("vm-test", "plain")
    assert (done.returncode, done.lines()[0]) == (Exit.USAGE, "error: kernel ./nowhere: no such folder")
    done = run_pytest(front.folder, *PLUGIN, "plain")
    assert done.returncode == Exit.USAGE
    assert "error: kernel ./nowhere: no such folder" in done.output
    shown = front.run("config")
    assert shown.lines()[0].split() == ["kernel", "./nowhere", str(front.folder / "kmod-harness.toml")]
    assert len(shown.lines()) == len(CONFIGURABLE) + 1


@pytest.mark.parametrize("table", ["kmod-harness = 3", "kmod-harness = [1]"])
def test_a_table_that_is_none(project: Path, table: str) -> None:
    write(project, f"[tool]\n{table}\n")
    with pytest.raises(UsageError, match="want a table"):
        find_configuration(project)
