# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.base.process import Completed
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import CACHE_VARIABLE, Settings
from kmod_harness.features.trace import command as trace
from kmod_harness.front import tasks
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.manifest import parse_manifest
from kmod_harness.module.module import resolve_module
from kmod_harness.module.vocabulary import SPLAT_KINDS
from kmod_harness.run.workbench import Workbench
from tests.front import PROGRAM, Front, make_front
from tests.patience import patient


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Front:
    """With an empty cache: nothing here gets as far as to need one."""
    front = make_front(tmp_path_factory.mktemp("front"))
    for name, manifest in {
        "plain": "",
        "unknown_key": "relods: 3\n",
        "twice": "reloads: 3\nload: ok\nreloads: 2\n",
        "wrong_class": "expect_splat: {class: nul-deref, pattern: x, reason: y}\n",
        "lonely": "depends: [nobody]\n",
    }.items():
        folder = front.folder / name
        folder.mkdir()
        (folder / "Kbuild").write_text(f"obj-m := {name}.o\n", encoding="utf-8")
        (folder / "module.yaml").write_text(manifest, encoding="utf-8")
    return front


WRONG = {
    "frobnicate": "there is no 'frobnicate'\nnext: kmod-harness --list",
    "--frobnicate": "there is no '--frobnicate'\nnext: kmod-harness --list",
    "vmtest": "there is no 'vmtest'; did you mean vm-test?",
    "vm-test --frobnicate": "next: kmod-harness vm-test --help",
    "vm-test --modul plain": "vm-test has no option '--modul'; did you mean --module?",
    "clean plain": "clean has no operand 'plain'\nnext: kmod-harness clean --help",
    "vm-test --module=": "--module: the value is empty\nnext: kmod-harness vm-test --help",
    "vm-test plain --kernel=": "--kernel: the value is empty",
    "graph --output=": "--output: the value is empty",
    "vm-test --jobs 1_0": "--jobs 1_0: want a whole number",
    "vm-test --jobs 99999999999": "--jobs 99999999999: want a whole number",
    "vm-test plain --machine ../q35": "no machine named ../q35; there is: microvm, q35",
    "vm-test plain --junit x --markdown x": "--junit and --markdown: both are x",
    "vm-test plain --junit /proc/x": "cannot write /proc/x: No such file or directory",
    "vm-test plain nosuch": "unknown module 'nosuch'",
    "build plain -- --odd": "nothing is read after --: --odd",
    "graph --identity x": "--identity x: which board? There is no --host\nnext: kmod-harness graph --help",
    "explain-log --local --known-hosts x": "--known-hosts x: which board?",
    "vm-test --kernel": "--kernel needed value",
    "vm-test --reloads many": "--reloads many: want a whole number",
    "vm-test --reloads -1 --module plain": "--reloads -1: want 1 or more",
    "vm-test --reloads 0 --module plain": "--reloads 0: want 1 or more",
    "vm-test --jobs 0 --module plain": "--jobs 0: want 1 or more",
    "vm-test --accel hvf --module plain": "--accel hvf: choose auto, kvm or tcg",
    "vm-test --isolation none --module plain": "--isolation none: choose test, module or kernel",
    "vm-test --module plain --junit no/such/folder.xml": "mkdir -p",
    "vm-test --module plain --markdown plain": "it is a folder",
    "build --module nosuch": "unknown module 'nosuch'",
    "build --module unknown_key": "unknown_key/module.yaml:1: unknown key relods; did you mean reloads?",
    "build --module twice": "twice/module.yaml:3: key reloads for the second time (first in line 1)",
    "vm-test --module wrong_class": "wrong_class/module.yaml:1: expect_splat.class: unknown class 'nul-deref'",
    "build --module wrong_class": "did you mean null-deref?",
    "build --module plain --kernel ./nowhere": "kernel ./nowhere: no such folder",
    # Of two things that are wrong, the kernel comes last: it may have to be fetched.
    "build --module plain --kernel ./nowhere --make-arg M=/x": "'M=/x' cannot be given to make here",
    "build --module lonely --kernel ./nowhere": "lonely/module.yaml: depends: nobody: there is no folder",
    "vm-test --module plain --kernel ./nowhere --machine warp": "no machine named warp; there is: microvm, q35",
    "shell --module nosuch --kernel ./nowhere": "unknown module 'nosuch'",
    "graph --module nosuch --kernel ./nowhere": "unknown module 'nosuch'",
    "trace-unload --module nosuch --kernel ./nowhere": "unknown module 'nosuch'",
}


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap (package bubblewrap)")
def test_the_modules_of_this_machine(front: Front) -> None:
    """Seen through a /proc that has nothing but a list of modules: not every host's kernel has one."""
    listing = front.folder / "modules"
    listing.write_text(
        "vms 16384 0 - Live 0x0000000000000000 (OE)\nmouse 24576 2 vms, Live 0x0\n", encoding="utf-8"
    )
    jail = ("bwrap", "--dev-bind", "/", "/", "--tmpfs", "/proc", "--ro-bind", str(listing), "/proc/modules")
    drawn = process.run((*jail, str(PROGRAM), "graph", "--local"), deadline=patient("graph"))
    assert [line.split() for line in drawn.lines()] == [
        ["module", "state", "count", "held", "by"],
        ["mouse", "Live", "2", "vms,", "1", "holder", "that", "is", "no", "module"],
        ["vms", "Live", "0", "-"],
    ]
    order = process.run(
        (*jail, str(PROGRAM), "unload-order", "mouse", "--local"), deadline=patient("x"), check=False
    )
    assert order.returncode == Exit.CHECK_FAILED
    assert order.lines()[0] == "1. rmmod vms"


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage(
    front: Front, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(front.folder)
    monkeypatch.setenv(CACHE_VARIABLE, str(front.cache))
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words.split()])
    with pytest.raises(SystemExit) as ended:
        tasks.main()
    message = capsys.readouterr().err
    assert ended.value.code == Exit.USAGE, message
    assert WRONG[words] in message


def test_wrong_usage_as_a_program(front: Front) -> None:
    done = front.run("vm-test", "--module", "wrong_class")
    assert done.returncode == Exit.USAGE, done.output
    assert done.output.startswith("error: ")
    assert front.left_behind() == []


@pytest.mark.usefixtures("signals")
def test_a_defect_is_no_failed_check(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kmod_harness.features.graph.command.show", lambda *_: dict[str, str]()["no such key"])
    monkeypatch.setattr("kmod_harness.features.graph.view.View.graph", lambda _: None)
    monkeypatch.setenv(CACHE_VARIABLE, str(front.cache))
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), "graph", "--local"])
    with pytest.raises(SystemExit) as ended:
        tasks.main()
    assert ended.value.code == Exit.NO_VERDICT
    assert "KeyError: 'no such key'\nerror: a defect of the harness" in capsys.readouterr().err


def test_cleaning_a_cache_that_is_a_link(front: Front, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "kernels").mkdir(parents=True)
    link.symlink_to(real)
    done = front.run("clean", "--all", KMOD_HARNESS_CACHE=str(link))
    assert (done.returncode, done.output) == (Exit.OK, f"removed {real}\n")
    assert not real.exists()


@pytest.mark.parametrize("factor", ["0", "fast"])
def test_wrong_timeout_factor(front: Front, factor: str) -> None:
    done = front.run("vm-test", "--module", "plain", KMOD_HARNESS_TIMEOUT_FACTOR=factor)
    assert done.returncode == Exit.USAGE, done.output
    assert f"KMOD_HARNESS_TIMEOUT_FACTOR={factor}: want a number" in done.output
    assert "Traceback" not in done.output


PLUGIN = ("-p", "kmod_harness.front.plugin")


def run_pytest(folder: Path, *words: str) -> Completed:
    """pytest as a user of another project runs it."""
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words)
    return process.run(argv, deadline=patient("pytest"), cwd=folder, check=False)


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--reloads 0", "--reloads 0: want 1 or more"),
        ("--machine warp", "no machine named warp"),
        ("--make-arg M=/x", "'M=/x' cannot be given to make here"),
        ("--kernel ./nowhere", "kernel ./nowhere: no such folder"),
    ],
)
def test_wrong_usage_of_the_plugin(front: Front, words: str, message: str, workers: tuple[str, ...]) -> None:
    done = run_pytest(front.folder, *PLUGIN, *workers, *words.split(), "plain")
    assert done.returncode == Exit.USAGE, done.output
    assert f"error: {message}" in done.output


def test_doctor_looks_at_a_cache_that_cannot_be(front: Front) -> None:
    done = front.run("doctor", KMOD_HARNESS_CACHE=f"/tmp/{'x' * 300}")
    assert "Traceback" not in done.output
    assert "GiB free" in done.output


def test_cache_that_cannot_be(front: Front) -> None:
    done = front.run("build", "--module", "plain", KMOD_HARNESS_CACHE="/dev/null")
    assert done.returncode == Exit.NO_VERDICT, done.output
    assert "next: check /dev/null, or put the cache elsewhere" in done.output
    assert "Traceback" not in done.output


def test_classes_of_splats_are_known() -> None:
    text = "expect_splat: {{class: {}, pattern: x, reason: y}}"
    for kind in SPLAT_KINDS:
        assert parse_manifest(text.format(kind), "m.yaml").expect_splat
    with pytest.raises(UsageError, match=r"unknown class 'nonsense'; known: .*null-deref"):
        parse_manifest(text.format("nonsense"), "m.yaml")


def make_kernel(tmp_path: Path) -> Kernel:
    return Kernel("6.12", "6.12.1", "x86_64", tmp_path, tmp_path, tmp_path, "gcc-14", "nowhere")


def test_a_circle_of_dependencies(tmp_path: Path) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Kbuild").touch()
        (tmp_path / name / "module.yaml").write_text(f"depends: [{other}]\n", encoding="utf-8")
    workbench = Workbench(Settings(cache=tmp_path / "cache"), Silent())
    with pytest.raises(UsageError, match="in a circle: one -> two -> one"):
        workbench.build([(resolve_module(str(tmp_path / "one")), make_kernel(tmp_path))])


def test_a_kernel_that_cannot_be_had_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(spec: str, *_: object) -> Kernel:
        asked.append(spec)
        raise HarnessError("no network")

    monkeypatch.setattr("kmod_harness.run.workbench.resolve_kernel", refuse)
    workbench = Workbench(Settings(cache=tmp_path), Silent())
    for _ in range(2):
        with pytest.raises(HarnessError, match="no network"):
            workbench.kernel("6.12")
    assert asked == ["6.12"]


def test_what_is_wrong_is_told_before_a_machine_is_booted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "trace_on", lambda *_: pytest.fail("booted"))
    workbench = Workbench(Settings(cache=tmp_path), Silent())
    monkeypatch.setattr("kmod_harness.run.workbench.check_kernels", lambda specs, *_: _only("6.12", specs))
    monkeypatch.setattr("kmod_harness.run.workbench.resolve_kernel", lambda *_: pytest.fail("fetched"))
    with pytest.raises(UsageError, match=r"no kernel 6\.13"):
        trace.trace_unload("6.12", "6.13", "depend_s", workbench, sys.stdout)


def _only(known: str, specs: Iterable[str]) -> None:
    for spec in specs:
        if spec != known:
            raise UsageError(f"no kernel {spec}")


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_failure_of_the_harness_is_no_failed_test(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_it.py").write_text(
        "from kmod_harness.base.errors import HarnessError\n\n"
        "def test_it():\n    raise HarnessError('no machine')\n",
        encoding="utf-8",
    )
    done = run_pytest(tmp_path, *PLUGIN, *workers)
    assert "1 failed" in done.output
    assert done.returncode == Exit.NO_VERDICT


def test_an_expected_failure_of_the_harness_is_none(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom kmod_harness.base.errors import HarnessError\n"
        "@pytest.mark.xfail\ndef test_it():\n    raise HarnessError('no machine')\n",
        encoding="utf-8",
    )
    done = run_pytest(tmp_path, *PLUGIN)
    assert "1 xfailed" in done.output
    assert done.returncode == Exit.OK


def test_all_modules_are_those_with_a_kbuild_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plain", "include", "other"):
        (tmp_path / "kmod" / name).mkdir(parents=True)
    for name in ("plain/Kbuild", "other/Makefile", "other/module.yaml"):
        (tmp_path / "kmod" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert tasks._all_modules() == [str(tmp_path / "kmod" / name) for name in ("other", "plain")]


THEIRS = """
import sys
import pytest

@pytest.fixture
def machine():
    return "theirs"

@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_theirs(kernel, machine, request):
    assert machine == "theirs"
    assert request.config.getoption("--jobs") == request.config.getoption("--machine") == "3"
    assert not [name for name in sys.modules if name.startswith("kmod_harness")]
"""
THEIR_OPTIONS = """
def pytest_addoption(parser):
    for name in ("--jobs", "--machine", "--cold", "--kernel", "--guard"):
        parser.addoption(name)
"""


def test_a_project_that_has_not_asked_for_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "module.yaml").write_text("theirs: [1, 2]\n", encoding="utf-8")
    (tmp_path / "Kbuild").write_text("obj-m := theirs.o\n", encoding="utf-8")
    (tmp_path / "test_theirs.py").write_text(THEIRS, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(THEIR_OPTIONS, encoding="utf-8")
    done = run_pytest(tmp_path, "--jobs", "3", "--machine", "3")
    assert done.returncode == 0, done.output
    assert "2 passed" in done.output


def test_names_of_a_project_that_has_asked_for_the_plugin(tmp_path: Path) -> None:
    """Its own fixtures and arguments are its own; files with the names of ours are left alone."""
    (tmp_path / "module.yaml").write_text("theirs: [1, 2]\n", encoding="utf-8")
    (tmp_path / "test_theirs.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('kernel', ['gaussian', 'laplacian'])\n"
        "def test_theirs(kernel): assert kernel.endswith('ian')\n"
        "class TestOther:\n"
        "    @pytest.fixture\n"
        "    def kernel(self): return 'sobel'\n"
        "    def test_other(self, kernel): assert kernel == 'sobel'\n",
        encoding="utf-8",
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p kmod_harness.front.plugin\n", encoding="utf-8")
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.output
    assert "3 passed" in done.output
