# SPDX-License-Identifier: MIT
"""What the program force-rmmod makes of what the rescue module tells as data; the kernel is played."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kmod_harness.base import process
from kmod_harness.base.settings import PROJECT
from tests.patience import patient

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc (invoke doctor)")
SOURCES = PROJECT / "kmod/tools/force-rmmod"
# In the place of calls.c: the module answers with $ERROR, after it has told what is in the file $FACTS.
CALLS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

void calls_open_missing(void) {}
void calls_catch_signals(void) {}
bool calls_interrupted(void) { return false; }
bool calls_lock(void) { return true; }
bool calls_guard_is_loaded(void) { return false; }
int calls_guard_waiting(void) { return 0; }
int calls_ask(const struct request *request) { return request->report < 0; }
int calls_delete(const char *name) { return !*name; }

void calls_rescue(const struct load *load, int *loaded, int *unloaded)
{
	int fd = atoi(strstr(load->parameters, "report=") + 7);
	FILE *facts = fopen(getenv("FACTS"), "r");
	char text[4096];
	size_t length = fread(text, 1, sizeof(text), facts);

	fclose(facts);
	if (pwrite(fd, text, length, 0) != (ssize_t)length)
		abort();
	*loaded = atoi(getenv("ERROR"));
	*unloaded = 0;
}
"""
MODULE = (
    b"\177ELF\0name=force_rmmod\0parmtype=explain:bool\0parmtype=report:int\0parmtype=force:bool\0"
    b"parmtype=scan:bool\0"
)
HOLDER = {
    "kind": "file",
    "pid": 7,
    "command": 'a, "socket" 9',
    "descriptor": 3,
    "path": "/dev/x",
    "text": 'pid 7, a, "socket" 9, descriptor 3, /dev/x',
}
EBUSY, EINVAL, ECANCELED = 16, 22, 125


def facts(**keys: Any) -> str:
    """As kmod/force_rmmod/facts.c writes them: a key a line."""
    known = {
        "target": "vms",
        "state": "live",
        "refcount": 1,
        "used_by": [],
        "uses": [],
        "holders": [],
        "registered": [],
        "rescue": None,
        "retired": None,
        "refusals": [],
        "steps": [],
        "missing": [],
        "touched": False,
        "complete": True,
    } | keys
    return "{\n" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in known.items()) + "\n}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with calls that are played, and the module beside it."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "played.c").write_text(CALLS, encoding="utf-8")
    (folder / "force_rmmod.ko").write_bytes(MODULE)
    sources = [str(path) for path in sorted(SOURCES.glob("*.c")) if path.name != "calls.c"]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}"]
    argv = ["gcc", *flags, "-o", str(folder / "force-rmmod"), str(folder / "played.c"), *sources]
    process.run(argv, deadline=patient("gcc"))
    return folder


def ask(folder: Path, told: str, *flags: str, error: int = 0) -> dict[str, Any]:
    """What the program says of vms when the module tells that and ends with that errno."""
    (folder / "facts").write_text(told, encoding="utf-8")
    done = process.run(
        [str(folder / "force-rmmod"), "--json", *flags, "vms"],
        deadline=patient("force-rmmod"),
        env={"FACTS": str(folder / "facts"), "ERROR": str(error)},
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.output)
    assert answer["exit_code"] == done.returncode
    return answer


def test_told_as_the_module_tells_it(folder: Path) -> None:
    told = facts(holders=[HOLDER], refusals=["first", 'vms is "in use"'], rescue="would be refused", uses=["a"])
    for error in (0, ECANCELED):
        answer = ask(folder, told, "--explain", error=error)
        assert (answer["exit_code"], answer["outcome"]) == (0, "explained")
        assert answer["reason"] == 'vms would not be rescued: vms is "in use"'
        assert (answer["holders"], answer["uses"]) == ([HOLDER], ["a"])
        assert {"touched", "missing", "complete"}.isdisjoint(answer)


@pytest.mark.parametrize("told", ["", facts()[:-4], facts(complete=False)], ids=["none", "cut", "no memory"])
def test_what_was_not_told_is_no_answer(folder: Path, told: str) -> None:
    """Nothing told never reads as: nobody holds it."""
    answer = ask(folder, told, "--explain")
    assert (answer["exit_code"], answer["outcome"]) == (2, "failed")
    assert answer["reason"] == "vms was not touched, but what was found was not told"


def test_refused_only_if_it_was_not_touched(folder: Path) -> None:
    refused = ask(folder, facts(refusals=["vms is in use"]), error=EBUSY)
    assert (refused["outcome"], refused["reason"]) == ("refused", "vms is in use")
    half = ask(folder, facts(refusals=["vms is in use"], touched=True, steps=["driver a"]), error=EBUSY)
    assert (half["outcome"], half["reason"], half["steps"]) == ("failed", "vms is in use", ["driver a"])
    unknown = ask(folder, facts()[:-4], error=EBUSY)
    assert (unknown["outcome"], unknown["reason"]) == (
        "failed",
        "the module is in use; how far it got was not told",
    )
    never_asked = ask(folder, "", error=EINVAL)
    assert never_asked["outcome"] == "refused"
