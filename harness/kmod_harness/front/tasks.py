# SPDX-License-Identifier: MIT
"""The commands: each gets what was typed, calls one function, and returns the exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_harness import __version__
from kmod_harness.base.errors import Exit, UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL, Settings
from kmod_harness.front.commandline import Commands, HarnessProgram
from kmod_harness.front.ending import outlive_readers, printed
from kmod_harness.front.options import Given, chosen

if TYPE_CHECKING:
    from kmod_harness.features.graph.view import View
    from kmod_harness.run.workbench import Workbench

CACHED_RESULTS = ("build", "modules", "programs", "initramfs", "module-trees", "vmlinux", "templates", "logs")
namespace = Commands()


@contextlib.contextmanager
def _workbench(given: Given) -> Iterator[Workbench]:
    """A workbench that shows its progress on standard error."""
    from kmod_harness.report.progress import open_progress
    from kmod_harness.run.fleet import MachineOptions
    from kmod_harness.run.workbench import Options, Workbench

    options = chosen(Options, given, machines=chosen(MachineOptions, given))
    with (
        open_progress(sys.stderr) as progress,
        contextlib.closing(Workbench(Settings(), progress, options)) as bench,
    ):
        yield bench


@contextlib.contextmanager
def _view(given: Given) -> Iterator[View]:
    """The modules of the kernel that the options mean."""
    from kmod_harness.features.graph.view import open_view
    from kmod_harness.run.targets import Choice

    choice = chosen(Choice, given, modules=given.loaded)
    with _workbench(given) as workbench, open_view(choice, workbench, holders=given.holders) as view:
        yield view


def _all_modules() -> list[str]:
    """The modules under kmod/ of the working directory; itself, if it is one; or those of this checkout."""
    from kmod_harness.module.module import is_module, module_folders, modules_in

    for folder in module_folders():
        if found := modules_in(folder):
            return [str(path) for path in found]
        if is_module(Path.cwd()):
            return ["."]
    raise UsageError(
        "no --module given, and there is no module in a folder kmod/ here",
        hint="kmod-harness vm-test --module PATH",
    )


@namespace.command
def build(given: Given) -> Exit:
    """Build modules for kernels, each with the compiler that the kernel's headers name."""
    from kmod_harness.module.module import resolve_modules
    from kmod_harness.report.builds import print_builds

    modules = resolve_modules(given.modules or _all_modules(), every=given.every)
    with _workbench(given) as workbench:
        kernels = workbench.kernels(given.kernels or (DEFAULT_KERNEL,))
        builds = workbench.build([(one, kernel) for kernel in kernels for one in modules])
    print_builds(builds, sys.stdout)
    if any(one.state == "failed" for one in builds):
        return Exit.CHECK_FAILED
    return Exit.NO_VERDICT if any(one.state == "impossible" for one in builds) else Exit.OK


@namespace.command
def vm_test(given: Given) -> Exit:
    """Build modules, boot each kernel in QEMU, load and unload them, judge what happened."""
    from kmod_harness.front import vmtest
    from kmod_harness.module.module import resolve_modules

    modules = resolve_modules(given.modules or _all_modules(), every=given.every)
    with _workbench(given) as workbench:
        return vmtest.run(given, modules, workbench)


@namespace.command
def kernels(given: Given) -> Exit:
    """List the kernels that can be chosen, and which of them are cached."""
    from rich.console import Console

    from kmod_harness.kernels.resolve import known_kernels
    from kmod_harness.report.progress import open_progress
    from kmod_harness.report.table import kernel_table

    with open_progress(sys.stderr) as progress:
        rows = known_kernels(Settings(), progress, refresh=given.refresh)
    Console().print(kernel_table(rows))
    print("Also: latest (or latest-cloud, ...), a whole release, host, a build tree, a folder of .deb files.")
    return Exit.OK


@namespace.command
def shell(given: Given) -> Exit:
    """Boot a kernel and give a prompt in it, with the named modules at hand in /tmp."""
    from kmod_harness.front.shell import interact
    from kmod_harness.module.devices import resolve_devices
    from kmod_harness.module.module import resolve_modules
    from kmod_harness.report.builds import print_builds
    from kmod_harness.run.fleet import connect_to

    modules = resolve_modules(given.at_hand)
    with _workbench(given) as workbench:
        kernel = workbench.kernel(given.kernel or DEFAULT_KERNEL)
        builds = workbench.build([(one, kernel) for one in modules])
        if not all(one.objects for one in builds):
            print_builds(builds, sys.stdout)
            return Exit.CHECK_FAILED
        devices = resolve_devices(name for one in modules for name in one.expectation.devices)
        with workbench.fleet.machine(kernel, "shell", devices=devices) as (running, guest):
            for one in builds:
                for ko in one.objects:
                    needed = workbench.upload_needed(guest, one, ko)
                    order = [*(subject.path for subject in needed), guest.put(ko)]
                    workbench.progress.note("at hand: insmod " + "; insmod ".join(order))
            workbench.progress.note(f"{kernel.release}; the machine ends with this shell (exit or Ctrl-D)")
            with connect_to(running) as runner:
                interact(runner)
    return Exit.OK


@namespace.command
def rescue(given: Given) -> Exit:
    """Take a stuck module out of the kernel of a machine that SSH reaches."""
    from kmod_harness.features.rescue.command import Request
    from kmod_harness.features.rescue.command import rescue as carry_out
    from kmod_harness.run.targets import Choice

    flags = {"--explain": given.explain, "--force": given.force, "--keep": given.keep, "--json": given.json}
    request = chosen(
        Request,
        given,
        board=chosen(Choice, given),
        flags=tuple(flag for flag, wanted in flags.items() if wanted),
        kernel=given.board_kernel,
    )
    with _workbench(given) as workbench:
        return carry_out(request, workbench, sys.stdout)


@namespace.command
def graph(given: Given) -> Exit:
    """Show which modules use which, how often each is held and by what else."""
    from kmod_harness.features.graph import command as graphs

    if given.output:
        graphs.check_output(given.output)
    with _view(given) as view:
        whole = view.graph()
        part = whole.around(view.chosen) if view.chosen else whole
        return graphs.show(part, given.output, sys.stdout)


@namespace.command
def unload_order(given: Given) -> Exit:
    """Tell what must be unloaded before a module can go, and what stands in the way; do it with --do."""
    from kmod_harness.features.graph import command as graphs

    with _view(given) as view:
        return graphs.unload_order(view, given.name, sys.stdout, do=given.do)


@namespace.command
def trace_unload(given: Given) -> Exit:
    """Show what a kernel really runs when a module is unloaded, step by step, with times."""
    from kmod_harness.features.trace import command as trace

    with _workbench(given) as workbench:
        kernel = given.kernel or DEFAULT_KERNEL
        return trace.trace_unload(kernel, given.against, given.watched, workbench, sys.stdout)


@namespace.command
def explain_log(given: Given) -> Exit:
    """Tell what went wrong in a kernel log from anywhere: the module, the line of its source."""
    from kmod_harness.features.log import command as logs
    from kmod_harness.run.targets import Choice

    request = chosen(logs.Request, given, board=chosen(Choice, given))
    with _workbench(given) as workbench:
        return logs.explain_log(request, workbench, sys.stdout)


@namespace.command
def doctor(given: Given) -> Exit:
    """Tell what is missing on this host, and the one command that mends it."""
    from kmod_harness.front import doctor as host
    from kmod_harness.report.table import print_doctor

    if given.install:
        host.install(host.missing_packages())
    rows = host.examine(Settings())
    print_doctor(rows, sys.stdout)
    return Exit.NO_VERDICT if any(row.state == "missing" for row in rows) else Exit.OK


@namespace.command
def config(given: Given) -> Exit:
    """Show what is configured for this folder, and where that comes from."""
    from kmod_harness.front.configuration import configured, describe

    rows = describe(configured())
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, origin in rows:
        print(f"{key:{widths[0]}}  {value:{widths[1]}}  {origin}")
    return Exit.OK


@namespace.command
def clean(given: Given) -> Exit:
    """Remove what the harness has built; with --all everything it keeps."""
    from kmod_harness.base import store

    settings = Settings()
    folders = [settings.cache] if given.all else [settings.cache / name for name in CACHED_RESULTS]
    for folder in folders:
        if folder.is_dir():
            with store.explained(settings):
                store.remove(folder)
            print(f"removed {folder}")
    return Exit.OK


def main() -> None:
    """The console script kmod-harness."""
    outlive_readers()
    code = HarnessProgram("kmod-harness", __version__, namespace).ended()
    code, last_words = printed(code)
    if last_words:
        print(last_words, file=sys.stderr)
    sys.exit(code)
