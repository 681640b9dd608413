# SPDX-License-Identifier: MIT
"""Side by side with virtme-ng on the same kernel, each job a process of its own on either side.

virtme-ng is no part of this project: it is measured when `vng` is on the PATH. The kernel is Debian's generic
one: its cloud kernels lack the file systems that virtme-ng boots from (9p, virtiofs). It gets the options that
suit it best: without a virtiofsd that it can use, as on Debian 12, it would try one for 3 s before it takes 9p.
Its answer comes through a folder of the host, because without udev on the host it has no other way to tell
output and exit code.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from benchmarks import commands
from benchmarks.bench import MODULE, Benchmark, Context, Once, Reading, SkippedError
from benchmarks.commands import TESTS, run_command
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.packages import unpack_guest_packages
from kmod_harness.machine.accelerator import choose

INSTALL = (
    "install it outside this checkout: python3 -m venv DIR && DIR/bin/pip install virtme-ng; PATH=DIR/bin:$PATH"
)
VIRTIOFSD = ("virtiofsd", "/usr/libexec/virtiofsd")  # not QEMU's own, older one
GENERIC = "6.1"
ANSWER = "answer"  # file that receives a command's output
LOADED = "loaded and unloaded"
ENOUGH_RUNS = 5  # of a boot that takes so long

Opener = Callable[[Context], AbstractContextManager[Once]]


def on_generic(context: Context) -> Context:
    """The same with Debian's generic kernel. SkippedError when there is nothing to compare with."""
    if shutil.which("vng") is None:
        raise SkippedError(f"no vng on the PATH; {INSTALL}")
    return replace(context, kernel=GENERIC)


def vng_argv(context: Context, kernel: Kernel, command: str) -> list[str]:
    """virtme-ng's command line for one command as root."""
    userland = unpack_guest_packages(context.settings, context.progress)
    accelerator = choose("auto", context.settings.cache)
    return [
        *("vng", "--run", str(kernel.image)),
        *(() if accelerator.name == "kvm" else ("--disable-kvm",)),
        *(() if any(map(shutil.which, VIRTIOFSD)) else ("--force-9p",)),
        *("--busybox", str(userland / "usr" / "bin" / "busybox")),
        *("--rwdir", str(context.scratch)),
        *("--user", "root", "--exec", f"({command}) > {context.scratch / ANSWER}"),
    ]


def _vng(command: Callable[[Context], str], expect: Callable[[Kernel], str], times: int = 1) -> Opener:
    @contextlib.contextmanager
    def opened(context: Context) -> Iterator[Once]:
        context = on_generic(context)
        kernel = context.resolved()
        argv = vng_argv(context, kernel, command(context))

        def once() -> Reading:
            answer = context.scratch / ANSWER
            readings = [
                run_command(argv, context.scratch, expect=expect(kernel), answer=answer) for _ in range(times)
            ]
            return Reading(sum(one.value for one in readings), max(one.peak for one in readings))

        yield once

    return opened


def _ours(*words: str, command: tuple[str, ...] = ()) -> Opener:
    @contextlib.contextmanager
    def opened(context: Context) -> Iterator[Once]:
        context = on_generic(context)
        argv = [sys.executable, "-m", "benchmarks.once", *words, context.kernel, *command]
        expect = context.resolved().release if command else "ok ok"
        yield lambda: run_command(argv, context.scratch, expect=expect)

    return opened


@contextlib.contextmanager
def _ten_tests(context: Context) -> Iterator[Once]:
    with commands.ten_tests(on_generic(context)) as once:
        yield once


def _load_command(context: Context) -> str:
    return f"insmod {context.module()} && rmmod {MODULE} && echo {LOADED}"


UNAME = ("uname", "-r")
_vng_uname = _vng(lambda _: " ".join(UNAME), lambda kernel: kernel.release)
_vng_load = _vng(_load_command, lambda _: LOADED)
_vng_ten = _vng(_load_command, lambda _: LOADED, TESTS)


def _row(
    name: str, what: str, group: str, opener: Opener, runs: int = ENOUGH_RUNS, *, warm: bool = True
) -> Benchmark:
    return Benchmark(name, what, None, runs, opener, group=group, warm=warm)


BENCHMARKS = (
    _row("vng-uname", "virtme-ng: to `uname -r`", "uname", _vng_uname),
    _row("uname-cold", "here, cold boot: to `uname -r`", "uname", _ours("--cold", command=UNAME)),
    _row("uname-clone", "here, clone: to `uname -r`", "uname", _ours(command=UNAME)),
    _row("vng-load", "virtme-ng: load and unload", "load", _vng_load),
    _row("load-cold", "here, cold boot: load and unload", "load", _ours("--cold", "--module", MODULE)),
    _row("load-clone", "here, clone: load and unload", "load", _ours("--module", MODULE)),
    _row("vng-ten", "virtme-ng: ten load/unload, ten boots", "ten", _vng_ten, 1, warm=False),
    _row("ten-generic", "here: pytest, ten tests, ten machines", "ten", _ten_tests, 3),
)
