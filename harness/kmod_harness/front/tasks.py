# SPDX-License-Identifier: MIT
"""The commands: each parses, calls one function, and turns the outcome into an exit code."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec

from invoke import Collection, Context, task
from invoke import Exit as InvokeExit

from kmod_harness import __version__
from kmod_harness.base.errors import Exit, Failure, UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL, Settings
from kmod_harness.front.commandline import HarnessProgram, HarnessTask
from kmod_harness.report.text import show_everything

P = ParamSpec("P")
ONE_KERNEL_HELP = f"a series, latest, host, a build tree or a folder of .debs (default {DEFAULT_KERNEL})"
KERNEL_HELP = f"{ONE_KERNEL_HELP}; can be repeated"
SOME_MODULES_HELP = "a name under kmod/ or the path of a folder with a kbuild Makefile; can be repeated"
MODULE_HELP = f"{SOME_MODULES_HELP} (default: all of kmod/)"
ACCEL_HELP = "auto, kvm or tcg (default auto)"
MACHINE_HELP = "q35 or microvm, a file of vm/ (default q35)"
MAKE_HELP = "more for kbuild's make, e.g. W=1; can be repeated"
KERNEL_ARG_HELP = "more for the kernel's command line, e.g. slub_debug=FZP; can be repeated"
CACHED_RESULTS = ("build", "modules", "programs", "initramfs", "vmlinux", "templates", "logs")


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End quietly when nobody reads our output any more, as with "| head"."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # as rich, which prints the tables, does


def command(function: Callable[P, Exit]) -> Callable[P, None]:
    """Make a command's exit code invoke's; a failure becomes its message, all else that ends it exit code 2."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        show_everything(sys.stdout)
        try:
            with _reader_may_leave():
                code = function(*args, **kwargs)
        except Failure as failure:
            raise InvokeExit(f"error: {failure}", failure.exit_code) from failure
        except KeyboardInterrupt:
            raise InvokeExit("interrupted: no verdict", Exit.NO_VERDICT) from None
        except Exception as error:  # Python would end with 1, which says that a check failed
            traceback.print_exc()
            raise InvokeExit("error: a defect of the harness: no verdict", Exit.NO_VERDICT) from error
        if code != Exit.OK:
            raise InvokeExit(code=code)

    return run


@contextlib.contextmanager
def _workbench(
    accel: str = "auto",
    make_arg: list[str] | None = None,
    reloads: int = 0,
    isolation: str = "test",
    cold: bool = False,
    machine: str = "q35",
    guard: bool = False,
    kernel_arg: list[str] | None = None,
) -> Iterator[Any]:
    """A workbench that shows its progress on standard error."""
    from kmod_harness.machine.accelerator import parse_request
    from kmod_harness.report.progress import open_progress
    from kmod_harness.run.fleet import MachineOptions, parse_isolation
    from kmod_harness.run.workbench import Options, Workbench

    machines = MachineOptions(
        parse_request(accel),
        machine,
        parse_isolation(isolation),
        clone=not cold,
        kernel_arguments=tuple(kernel_arg or ()),
    )
    options = Options(machines, tuple(make_arg or ()), reloads or None, guard)
    with (
        open_progress(sys.stderr) as progress,
        contextlib.closing(Workbench(Settings(), progress, options)) as bench,
    ):
        yield bench


def _all_modules() -> list[str]:
    """The modules under kmod/ of the working directory, or of this checkout."""
    from kmod_harness.module.module import module_folders, modules_in

    for folder in module_folders():
        if found := modules_in(folder):
            return [str(path) for path in found]
    raise UsageError(
        "no --module given, and there is no module in a folder kmod/ here",
        hint="kmod-harness vm-test --module PATH",
    )


def _file(name: str) -> Path | None:
    """The file that an option names, if it was given."""
    return Path(name).expanduser() if name else None


def _asks_for_help(name: str, command: str) -> bool:
    """Whether help was wanted, which is then printed: invoke takes whatever comes first as the name."""
    if name not in ("--help", "-h"):
        return False
    _program().run([sys.argv[0], "--help", command], exit=False)
    return True


@task(
    klass=HarnessTask,
    iterable=["kernel", "module", "make_arg"],
    help={"kernel": KERNEL_HELP, "module": MODULE_HELP, "make-arg": MAKE_HELP},
)
@command
def build(_context: Context, kernel: list[str], module: list[str], make_arg: list[str]) -> Exit:
    """Build modules for kernels, each with the compiler that the kernel's headers name."""
    from kmod_harness.module.module import resolve_module
    from kmod_harness.report.builds import print_builds

    modules = [resolve_module(name) for name in module or _all_modules()]
    with _workbench(make_arg=make_arg) as workbench:
        kernels = [workbench.kernel(spec) for spec in kernel or [DEFAULT_KERNEL]]
        builds = workbench.build([(one, target) for target in kernels for one in modules])
    print_builds(builds, sys.stdout)
    return Exit.CHECK_FAILED if any(one.state == "failed" for one in builds) else Exit.OK


@task(
    klass=HarnessTask,
    name="vm-test",
    iterable=["kernel", "module", "make_arg", "kernel_arg"],
    help={
        "kernel": KERNEL_HELP,
        "module": MODULE_HELP,
        "make-arg": MAKE_HELP,
        "kernel-arg": KERNEL_ARG_HELP,
        "accel": ACCEL_HELP,
        "reloads": "how often to load and unload each module, instead of what its module.yaml says",
        "guard": "an oops in a module's init or exit is an error of its own, and not the end of the machine",
        "isolation": "who gets a machine of its own: test, module or kernel (default test)",
        "jobs": "machines at a time (default: as cores and memory allow)",
        "machine": MACHINE_HELP,
        "cold": "boot every machine instead of cloning a template",
        "keyword": "only modules and kernels whose name matches, as pytest's -k",
        "exitfirst": "stop at the first failure",
        "junit": "write a JUnit file",
        "markdown": "write the table as Markdown",
    },
)
@command
def vm_test(
    _context: Context,
    kernel: list[str],
    module: list[str],
    make_arg: list[str],
    kernel_arg: list[str],
    accel: str = "auto",
    reloads: int = 0,
    guard: bool = False,
    isolation: str = "test",
    jobs: int = 0,
    cold: bool = False,
    machine: str = "q35",
    keyword: str = "",
    exitfirst: bool = False,
    junit: str = "",
    markdown: str = "",
) -> Exit:
    """Build modules, boot each kernel in QEMU, load and unload them, judge what happened."""
    from kmod_harness.front import vmtest

    selection = vmtest.Selection(
        modules=module or _all_modules(),
        kernels=list(dict.fromkeys(kernel)) or [DEFAULT_KERNEL],
        keyword=keyword,
        exit_first=exitfirst,
        junit=_file(junit),
        markdown=_file(markdown),
        jobs=jobs,
    )
    with _workbench(accel, make_arg, reloads, isolation, cold, machine, guard, kernel_arg) as workbench:
        return vmtest.run(selection, workbench)


@task(klass=HarnessTask, help={"refresh": "ask the mirror even if its package lists are fresh"})
@command
def kernels(_context: Context, refresh: bool = False) -> Exit:
    """List the kernels that can be chosen, and which of them are cached."""
    from rich.console import Console

    from kmod_harness.kernels.resolve import known_kernels
    from kmod_harness.report.progress import open_progress
    from kmod_harness.report.table import kernel_table

    with open_progress(sys.stderr) as progress:
        rows = known_kernels(Settings(), progress, refresh=refresh)
    Console().print(kernel_table(rows))
    print("Also: latest (or latest-cloud, ...), a whole release, host, a build tree, a folder of .deb files.")
    return Exit.OK


@task(
    klass=HarnessTask,
    iterable=["module", "kernel_arg"],
    help={
        "kernel": ONE_KERNEL_HELP,
        "module": SOME_MODULES_HELP,
        "kernel-arg": KERNEL_ARG_HELP,
        "accel": ACCEL_HELP,
        "machine": MACHINE_HELP,
    },
)
@command
def shell(
    _context: Context,
    module: list[str],
    kernel_arg: list[str],
    kernel: str = DEFAULT_KERNEL,
    accel: str = "auto",
    machine: str = "q35",
) -> Exit:
    """Boot a kernel and give a prompt in it, with the named modules at hand in /tmp."""
    from kmod_harness.front.shell import interact
    from kmod_harness.module.module import resolve_module
    from kmod_harness.report.builds import print_builds

    modules = [resolve_module(name) for name in module]
    with _workbench(accel, machine=machine, kernel_arg=kernel_arg) as workbench:
        target = workbench.kernel(kernel)
        builds = workbench.build([(one, target) for one in modules])
        if any(one.state == "failed" for one in builds):
            print_builds(builds, sys.stdout)
            return Exit.CHECK_FAILED
        with workbench.fleet.machine(target, "shell") as (running, guest):
            for one in builds:
                for ko in one.objects:
                    needed = workbench.upload_needed(guest, one, ko)
                    order = [*(subject.path for subject in needed), guest.put(ko)]
                    workbench.progress.note("at hand: insmod " + "; insmod ".join(order))
            workbench.progress.note(f"{target.release}; the machine ends with this shell (exit or Ctrl-D)")
            interact(guest.runner.ssh.transport, running)
    return Exit.OK


@task(
    klass=HarnessTask,
    positional=["name"],
    help={
        "name": "the stuck module",
        "host": "user@board or user@board:port",
        "explain": "tell about the module and what would be done; touch nothing",
        "force": "take the risks that the rescue would refuse for",
        "keep": "make the module removable, but do not remove it",
        "json": "one JSON object instead of text",
        "kernel": "what the board runs: a series, or a folder of .debs (default: found out)",
        "kdir": "the build tree of the board's kernel",
        "identity": "private key to log in with (default: the agent's, then ~/.ssh/id_*)",
        "known-hosts": "file with the board's host key (default: ssh's own)",
    },
)
@command
def rescue(
    _context: Context,
    name: str,
    host: str = "",
    explain: bool = False,
    force: bool = False,
    keep: bool = False,
    json: bool = False,
    kernel: str = "",
    kdir: str = "",
    identity: str = "",
    known_hosts: str = "",
) -> Exit:
    """Take a stuck module out of the kernel of a machine that SSH reaches."""
    from kmod_harness.features.rescue.command import Request
    from kmod_harness.features.rescue.command import rescue as carry_out
    from kmod_harness.run.targets import Choice

    if _asks_for_help(name, "rescue"):
        return Exit.OK
    flags = {"--explain": explain, "--force": force, "--keep": keep, "--json": json}
    request = Request(
        board=Choice(host=host, identity=_file(identity), known_hosts=_file(known_hosts)),
        name=name,
        flags=tuple(flag for flag, given in flags.items() if given),
        kernel=kernel,
        kdir=kdir,
    )
    with _workbench() as workbench:
        return carry_out(request, workbench, sys.stdout)


PLACE_HELP = {
    "kernel": f"of a virtual machine: {ONE_KERNEL_HELP}",
    "host": "of a board: user@board or user@board:port",
    "local": "of this machine",
    "holders": "ask the kernel's own lists, by force_rmmod, and name who else holds a module",
    "accel": ACCEL_HELP,
    "machine": MACHINE_HELP,
    "identity": "private key to log in with (default: the agent's, then ~/.ssh/id_*)",
    "known-hosts": "file with the board's host key (default: ssh's own)",
}


@contextlib.contextmanager
def _view(
    kernel: str,
    modules: list[str],
    host: str,
    local: bool,
    holders: bool,
    accel: str,
    machine: str,
    identity: str,
    known_hosts: str,
) -> Iterator[Any]:
    """The kernel that the options mean."""
    from kmod_harness.features.graph.view import open_view
    from kmod_harness.run.targets import Choice

    choice = Choice(
        kernel=kernel,
        modules=modules,
        host=host,
        local=local,
        identity=_file(identity),
        known_hosts=_file(known_hosts),
    )
    with (
        _workbench(accel, machine=machine) as workbench,
        open_view(choice, workbench, holders=holders) as view,
    ):
        yield view


@task(
    klass=HarnessTask,
    iterable=["module"],
    help={
        **PLACE_HELP,
        "module": "only what belongs to this module; in a virtual machine it is loaded first; can be repeated",
        "output": "write .svg, .png (by Graphviz), .dot, .mmd (Mermaid) or .txt instead of printing a table",
    },
)
@command
def graph(
    _context: Context,
    module: list[str],
    kernel: str = "",
    host: str = "",
    local: bool = False,
    holders: bool = False,
    output: str = "",
    accel: str = "auto",
    machine: str = "q35",
    identity: str = "",
    known_hosts: str = "",
) -> Exit:
    """Show which modules use which, how often each is held and by what else."""
    from kmod_harness.features.graph import command as graphs

    file = _file(output)
    if file:
        graphs.check_output(file)
    with _view(kernel, module, host, local, holders, accel, machine, identity, known_hosts) as view:
        whole = view.graph()
        part = whole.around(view.chosen) if view.chosen else whole
        return graphs.show(part, file, sys.stdout)


@task(
    klass=HarnessTask,
    name="unload-order",
    positional=["name"],
    iterable=["module"],
    help={
        **PLACE_HELP,
        "name": "the module that shall go",
        "module": "in a virtual machine: load it first (a name or a path); can be repeated",
        "do": "unload them, in that order",
    },
)
@command
def unload_order(
    _context: Context,
    name: str,
    module: list[str],
    kernel: str = "",
    host: str = "",
    local: bool = False,
    holders: bool = False,
    do: bool = False,
    accel: str = "auto",
    machine: str = "q35",
    identity: str = "",
    known_hosts: str = "",
) -> Exit:
    """Tell what must be unloaded before a module can go, and what stands in the way; do it with --do."""
    from kmod_harness.features.graph import command as graphs

    if _asks_for_help(name, "unload-order"):
        return Exit.OK
    with _view(kernel, module, host, local, holders, accel, machine, identity, known_hosts) as view:
        return graphs.unload_order(view, name, sys.stdout, do=do)


@task(
    klass=HarnessTask,
    name="trace-unload",
    help={
        "kernel": ONE_KERNEL_HELP,
        "module": "the module that is watched: a name under kmod/ or a path (default depend_s)",
        "against": "a second kernel, shown beside the first",
        "accel": ACCEL_HELP,
        "machine": MACHINE_HELP,
    },
)
@command
def trace_unload(
    _context: Context,
    kernel: str = DEFAULT_KERNEL,
    module: str = "depend_s",
    against: str = "",
    accel: str = "auto",
    machine: str = "q35",
) -> Exit:
    """Show what a kernel really runs when a module is unloaded, step by step, with times."""
    from kmod_harness.features.trace import command as trace

    with _workbench(accel, machine=machine) as workbench:
        return trace.trace_unload(kernel, against, module, workbench, sys.stdout)


@task(klass=HarnessTask, help={"install": "install what is missing (through sudo unless root)"})
@command
def doctor(_context: Context, install: bool = False) -> Exit:
    """Tell what is missing on this host, and the one command that mends it."""
    from kmod_harness.front import doctor as host
    from kmod_harness.report.table import print_doctor

    if install:
        host.install(host.missing_packages())
    rows = host.examine(Settings())
    print_doctor(rows, sys.stdout)
    return Exit.NO_VERDICT if any(row.state == "missing" for row in rows) else Exit.OK


@task(klass=HarnessTask, help={"all": "downloads, kernels and toolchains too"})
@command
def clean(_context: Context, all: bool = False) -> Exit:
    """Remove what the harness has built; with --all everything it keeps."""
    from kmod_harness.base import store

    settings = Settings()
    folders = [settings.cache] if all else [settings.cache / name for name in CACHED_RESULTS]
    for folder in folders:
        if folder.is_dir():
            with store.explained(settings):
                store.remove(folder)
            print(f"removed {folder}")
    return Exit.OK


namespace = Collection(build, vm_test, kernels, shell, rescue, graph, unload_order, trace_unload, doctor, clean)


def _program() -> HarnessProgram:
    return HarnessProgram(name="kmod-harness", binary="kmod-harness", namespace=namespace, version=__version__)


def main() -> None:
    """The console script kmod-harness."""
    with _reader_may_leave():
        _program().run()
