# SPDX-License-Identifier: MIT
"""How a module may be built, by what lies in its folder, in the order in which it is tried.

1. what module.yaml says under `build`;
2. dkms.conf;
3. kbuild, for a Kbuild or Makefile with an obj-m;
4. the default target of the author's own Makefile, when that calls make;
5. kbuild in the only sub-folder that has an obj-m;
6. kbuild with CONFIG_X=m for each `obj-$(CONFIG_X)` that nobody gives a value.

The author's own target comes before kbuild when it says more to kbuild than usual, or has no obj-m.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from kmod_harness.kbuild.dkms import DKMS_CONF
from kmod_harness.module.expectation import BuildPlan
from kmod_harness.module.makefiles import KBUILD_FILES, MAKE_FILES, MakeText, parse_make_text

Key = Literal["module.yaml", "dkms.conf", "kbuild", "make", "below", "options"]
MAX_MAKE_FILES = 400


@dataclass(frozen=True)
class Folder:
    """The make files of a module's folder, by their path in it."""

    texts: Mapping[str, MakeText] = field(default_factory=dict)
    dkms: bool = False

    @property
    def kbuild(self) -> MakeText | None:
        """What kbuild reads."""
        return next((self.texts[name] for name in KBUILD_FILES if name in self.texts), None)

    @property
    def own(self) -> MakeText | None:
        """What `make` in the folder reads."""
        return next((self.texts[name] for name in MAKE_FILES if name in self.texts), None)

    def options(self, configuration: str) -> list[str]:
        """Each CONFIG_X that an obj-$(CONFIG_X) waits for, and that the kernel does not build as a module."""
        asked = dict.fromkeys(name for text in self.texts.values() for name in text.options)
        return [name for name in asked if not re.search(rf"^{name}=m$", configuration, re.MULTILINE)]

    def objects(self) -> list[str]:
        """The modules that are asked for, as paths without ending."""
        return [str(PurePath(name).parent / one) for name, text in self.texts.items() for one in text.objects]

    def below(self) -> list[str]:
        """The sub-folders with an obj-m, but those that another of them leads to."""
        found = [PurePath(name).parent for name, text in self.texts.items() if text.objects or text.folders]
        return [
            str(path) for path in dict.fromkeys(found) if path.parts and not set(path.parents[:-1]) & {*found}
        ]

    def tree_variables(self) -> list[str]:
        """The names by which its make files call the kernel's build tree."""
        return list(dict.fromkeys(name for text in self.texts.values() for name in text.tree_variables))


def read_folder(folder: Path, names: Iterable[str]) -> Folder:
    """Read the make files among `names`, which are relative to `folder`."""
    names = list(names)
    wanted = [
        name for name in names if PurePath(name).name in (*KBUILD_FILES, *MAKE_FILES) or name.endswith(".mk")
    ]
    texts = {
        name: parse_make_text((folder / name).read_text(errors="replace", encoding="utf-8"))
        for name in wanted[:MAX_MAKE_FILES]
        if (folder / name).is_file()
    }
    return Folder(texts, DKMS_CONF in names)


def find_ways(plan: BuildPlan, folder: Folder, configuration: str) -> list[Key]:
    """The ways to try, in order. configuration: the text of the kernel's auto.conf."""
    if plan != BuildPlan(tools=plan.tools):
        return ["module.yaml"]
    kbuild, own = folder.kbuild, folder.own
    result: list[Key] = ["dkms.conf"] if folder.dkms else []
    called = own is not None and own.calls_make
    if kbuild and kbuild.asks and not (own and called and own.unusual):
        result += ["kbuild", "make"] if called else ["kbuild"]
    else:
        result += ["make"] if called else []
        result += ["kbuild"] if kbuild else []
    if not (kbuild and kbuild.asks) and len(folder.below()) == 1:
        result.append("below")
    return [*result, "options"] if kbuild and folder.options(configuration) else result
