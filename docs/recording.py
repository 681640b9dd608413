# SPDX-License-Identifier: MIT
"""Records what a terminal shows while the driver in examples/ is tested, broken and then mended.

    make docs                   or: python docs/recording.py [KERNEL]

Makes vm-test.svg beside this file, and the text of the broken run between the two comments in the README.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline

HERE = Path(__file__).parent
PICTURE = HERE / "vm-test.svg"
DRIVER = HERE / "examples" / "my_driver"
README = HERE.parent / "README.md"
RECORDED = re.compile(r"(<!-- recorded: docs/recording.py -->\n).*?(<!-- end of the recording -->)", re.DOTALL)
COLUMNS = 96
SECONDS = 900.0
KERNEL = "6.12"
# The mistake: the probe function asks for what only the probe function could have put there.
RIGHT = "dev_get_platdata(&pdev->dev)"
WRONG = "platform_get_drvdata(pdev)"


def break_driver(folder: Path) -> None:
    """Put the mistake into a copy of the driver."""
    source = folder / "my_driver.c"
    text = source.read_text(encoding="utf-8")
    assert RIGHT in text
    source.write_text(text.replace(RIGHT, WRONG), encoding="utf-8")


def run(folder: Path, kernel: str) -> str:
    """What vm-test prints on standard output, colours included."""
    argv = [str(Path(sys.executable).with_name("kmod-harness"))]
    argv += ["vm-test", "--module", "./my_driver", "--kernel", kernel]
    quiet = ["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *argv]  # without the progress
    look = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    done = process.run(
        quiet, cwd=folder, env=os.environ | look, deadline=Deadline(SECONDS, "vm-test"), check=False
    )
    # Where it was recorded is nobody's business.
    return done.output.replace(str(folder), "~/src").replace(str(Path.home()), "~").rstrip("\n")


def record(kernel: str) -> tuple[str, str]:
    """The outputs of a run of the broken driver and of the mended one."""
    with tempfile.TemporaryDirectory() as name:
        driver = Path(name, "my_driver")
        shutil.copytree(DRIVER, driver)
        break_driver(driver)
        broken = run(Path(name), kernel)
        shutil.copytree(DRIVER, driver, dirs_exist_ok=True)
        return broken, run(Path(name), kernel)


def draw(outputs: tuple[str, str], kernel: str) -> str:
    """A picture of the terminal as SVG, without fonts from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    command = Text(f"$ kmod-harness vm-test --module ./my_driver --kernel {kernel}", style="bold")
    broken, mended = map(Text.from_ansi, outputs)
    parts = (command, broken, Text(), Text("$ # mended, and once more", style="dim"), command, mended)
    for part in parts:
        console.print(part, soft_wrap=True, highlight=False)
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="kmod-harness", code_format=plain, unique_id="recorded")


def shortened(text: str) -> str:
    """The text with the first line of evidence only: the picture has all."""
    return re.sub(r"^(  \| .*\n)(?:(?:  \| |    ).*\n)+", r"\1  | ...\n", text, flags=re.MULTILINE)


def main(kernel: str) -> None:
    """Make the picture and the text anew."""
    outputs = record(kernel)
    PICTURE.write_text(draw(outputs, kernel), encoding="utf-8")
    text = Text.from_ansi(outputs[0]).plain
    body = shortened("".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    page = README.read_text(encoding="utf-8")
    command = f"$ kmod-harness vm-test --module ./my_driver --kernel {kernel}\n"
    block = f"```console\n{command}{body}```\n"
    README.write_text(RECORDED.sub(lambda match: match[1] + block + match[2], page), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else KERNEL)
