# SPDX-License-Identifier: MIT
"""`vm-test` from what was typed to its exit code; kernels, builds and machines are stand-ins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.base.settings import CACHE_VARIABLE
from kmod_harness.front import tasks, vmtest
from kmod_harness.front.options import Given
from kmod_harness.kbuild.make import Build
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module import manifest
from kmod_harness.module.module import Module
from kmod_harness.report.rows import ResultRow
from kmod_harness.run import workbench
from kmod_harness.run.workbench import Checked, Workbench
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.lifecycle import Verdict
from kmod_harness.verdict.observation import Ending, Observation

OBSERVATION = Observation((), (), 0, 0, Ending.COMPLETE, "", (), Path("console.log"))
MODULES = {"top": "depends: [base]", "second": "depends: [base]", "base": ""}
KERNELS = ("5.10", "6.12")
MANY = ("absent", "with-dash")


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each thing was done, by its name. All modules pass."""
    count: Counter[str] = Counter()

    def resolve(spec: str, *_: object) -> Kernel:
        count[f"resolve {spec}"] += 1
        return Kernel(spec, f"{spec}.0", "x86_64", tmp_path, tmp_path, tmp_path, "gcc", "nowhere")

    def check(specs: Iterable[str], *_: object) -> None:
        count["check " + " ".join(specs)] += 1

    def build(_: Workbench, pairs: Sequence[tuple[Module, Kernel]]) -> list[Build]:
        def objects(module: Module) -> tuple[Path, ...]:
            names = MANY if module.name == "many" else (module.name,)
            return tuple(tmp_path / f"{name}.ko" for name in names)

        return [Build(*pair, objects(pair[0]), None, "built", (), (), 0.0, tmp_path) for pair in pairs]

    def tested(_: Workbench, module: Module, kernel: Kernel, __: object, only: str = "") -> list[Checked]:
        name = only or module.name
        count[f"test {name} on {kernel.spec}"] += 1
        outcome, drivers = (Outcome.NO_DEVICE, ()) if name == "absent" else (Outcome.PASSED, (("pci:x", 0),))
        return [Checked(name, Verdict(outcome, ("ENODEV",), (), ()), replace(OBSERVATION, drivers=drivers))]

    def counted_read(path: Path) -> object:
        count[f"read {path.parent.name}"] += 1
        return read(path)

    read = manifest.read_manifest
    monkeypatch.setattr(manifest, "read_manifest", counted_read)
    monkeypatch.setattr("kmod_harness.run.workbench.resolve_kernel", resolve)
    monkeypatch.setattr("kmod_harness.run.workbench.check_kernels", check)
    monkeypatch.setattr(Workbench, "build", build)
    monkeypatch.setattr(Workbench, "check", tested)
    for name, text in MODULES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Kbuild").write_text(f"obj-m := {name}.o\n", encoding="utf-8")
        (tmp_path / name / "module.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return count


@pytest.mark.parametrize("jobs", [1, 3])
def test_everything_is_resolved_and_read_once(done: Counter[str], jobs: int) -> None:
    given = Given(modules=(*MODULES, "top"), kernels=(*KERNELS, "6.12"), jobs=jobs)
    assert tasks.vm_test(given) == Exit.OK
    assert done == Counter(
        [
            "check 5.10 6.12",
            *(f"resolve {spec}" for spec in KERNELS),
            *(f"read {name}" for name in MODULES),
            *(f"test {name} on {spec}" for name in MODULES for spec in KERNELS),
        ]
    )


@pytest.mark.parametrize(("required", "code"), [(False, Exit.OK), (True, Exit.CHECK_FAILED)])
def test_each_ko_of_a_folder_has_a_row_and_absent_hardware_is_no_failure(
    done: Counter[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], required: bool, code: Exit
) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "Kbuild").write_text("obj-m := absent.o with-dash.o\n", encoding="utf-8")
    junit = tmp_path / "junit.xml"
    given = Given(modules=("many",), kernels=("6.12",), require_device=required, junit=junit)
    assert tasks.vm_test(given) == code
    assert (done["test absent on 6.12"], done["test with_dash on 6.12"]) == (1, 1)
    said = capsys.readouterr().out
    assert "1 passed, 1 no device in" in said
    assert "no device was bound to pci:x of with_dash" in " ".join(said.split())
    assert junit.read_text(encoding="utf-8").count("<testcase") == 2


def test_the_settings_of_the_users_own_tests(
    done: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n 2 --frobnicate")
    monkeypatch.setenv("PYTEST_PLUGINS", "no.such.plugin")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --frobnicate\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text("raise SystemExit('theirs')\n", encoding="utf-8")
    assert tasks.vm_test(Given(modules=("top",), kernels=("6.12",))) == Exit.OK
    assert done["test top on 6.12"] == 1


def test_only_what_matches(done: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = Given(modules=tuple(MODULES), kernels=KERNELS, keyword="base and 6.12")
    assert tasks.vm_test(given) == Exit.OK
    assert "1 passed" in capsys.readouterr().out
    assert [what for what in done if what.startswith("test")] == ["test base on 6.12"]


@pytest.mark.parametrize("keyword", ["nosuch", "module.yaml", "tmp"])
def test_nothing_matches(done: Counter[str], keyword: str) -> None:
    with pytest.raises(UsageError, match=f"no test matches -k {keyword}"):
        tasks.vm_test(Given(modules=tuple(MODULES), kernels=KERNELS, keyword=keyword))
    assert not [what for what in done if what.startswith("resolve")]


@pytest.mark.parametrize("code", [*pytest.ExitCode])
def test_no_rows_are_never_a_pass(code: pytest.ExitCode) -> None:
    with pytest.raises((HarnessError, KeyboardInterrupt)):
        vmtest._exit(code, [])


def test_a_keyword_that_pytest_cannot_read(done: Counter[str]) -> None:
    with pytest.raises(UsageError, match="pytest cannot use --keyword"):
        tasks.vm_test(Given(modules=tuple(MODULES), kernels=KERNELS, keyword="base and ("))
    assert not [what for what in done if what.startswith("resolve")]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("passed", "skipped"), Exit.OK),
        (("passed", "crashed"), Exit.CHECK_FAILED),
        (("crashed", "no-verdict"), Exit.NO_VERDICT),
    ],
)
def test_exit_code_is_what_the_rows_say(outcomes: Sequence[str], expected: Exit) -> None:
    rows = [ResultRow("top", "6.12", outcome, 1.0) for outcome in outcomes]
    assert vmtest._exit(pytest.ExitCode.TESTS_FAILED, rows) == expected


@pytest.mark.parametrize("command", [tasks.build, tasks.vm_test, tasks.trace_unload])
def test_all_kernels_are_looked_at_before_one_is_fetched(
    done: Counter[str], command: Callable[[Given], Exit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(specs: Iterable[str], *_: object) -> None:
        raise UsageError(f"unknown kernel {[*specs][-1]}")

    monkeypatch.setattr("kmod_harness.run.workbench.check_kernels", check)
    given = Given(modules=("top",), watched="top", kernels=("6.12", "6.99"), kernel="6.12", against="6.99")
    with pytest.raises(UsageError, match=r"unknown kernel 6\.99"):
        command(given)
    assert not [what for what in done if what.startswith("resolve")]


def test_a_kernel_that_cannot_be_had_costs_only_its_own_results(
    done: Counter[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*_: object) -> None:
        raise HarnessError("no network")

    resolve = vars(workbench)["resolve_kernel"]
    monkeypatch.setattr(workbench, "check_kernels", no_network)
    monkeypatch.setattr(
        workbench, "resolve_kernel", lambda spec, *_: no_network() if spec == "6.12" else resolve(spec, *_)
    )
    assert tasks.vm_test(Given(modules=("top",), kernels=KERNELS)) == Exit.NO_VERDICT
    assert "1 passed, 1 no verdict" in capsys.readouterr().out


SERIES = ("5.10", "6.1", "6.6", "6.12", "7.2", "7.3")


@pytest.mark.parametrize(
    ("first_bad", "code", "sentence", "tried"),
    [
        (3, Exit.CHECK_FAILED, "first bad kernel: 6.12; last that passes: 6.6", 4),
        (9, Exit.OK, "first bad kernel: none, the oldest and the newest pass", 2),
    ],
)
def test_the_first_bad_kernel_is_named(
    done: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    first_bad: int,
    code: Exit,
    sentence: str,
    tried: int,
) -> None:
    def tested(_: Workbench, module: Module, kernel: Kernel, *__: object) -> list[Checked]:
        done[f"test {kernel.spec}"] += 1
        bad = SERIES.index(kernel.spec) >= first_bad
        outcome = Outcome.FAILED if bad else Outcome.PASSED
        return [Checked(module.name, Verdict(outcome, ("as told",) if bad else (), (), ()), OBSERVATION)]

    monkeypatch.setattr(Workbench, "check", tested)
    assert tasks.vm_test(Given(modules=("base",), kernels=SERIES, first_bad=True)) == code
    assert capsys.readouterr().out.splitlines()[-1] == sentence
    assert len([what for what in done if what.startswith("test ")]) == tried


def test_a_search_cannot_write_junit(done: Counter[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--first-bad with --junit"):
        tasks.vm_test(Given(modules=("base",), kernels=SERIES, first_bad=True, junit=tmp_path / "x.xml"))
