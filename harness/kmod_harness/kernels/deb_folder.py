# SPDX-License-Identifier: MIT
"""A folder of .deb files as a kernel: which packages it takes, and which are missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError
from kmod_harness.kernels.catalogue import Stanza, needed_names

LOOK_SECONDS = 30.0
FIELDS = ("Package", "Version", "Depends")
# The package with the image, and how its release is found in the name.
_IMAGE = re.compile(r"linux-(?:image|binary-unsigned|binary)-(?P<release>\d.*?)(?:-unsigned)?")
_HEADERS = re.compile(r"linux-headers-(?P<release>\d.*)(?<!-common)")


def check_complete(spec: str, folder: Path, files: Sequence[Path]) -> None:
    """HarnessError that names the packages that are missing in a folder of .deb files."""
    stanzas = [read_stanza(file) for file in files]
    missing = missing_packages({stanza["Package"]: stanza for stanza in stanzas})
    if missing:
        exact = [name for name in missing if " or " not in name]
        command = f"cd {shlex.quote(str(folder))} && apt-get download {' '.join(exact or ['PACKAGE'])}"
        raise HarnessError(f"{spec}: packages are missing in it: {', '.join(missing)}", hint=command)


def read_stanza(file: Path) -> Stanza:
    """The control fields that matter here."""
    done = process.run(
        ("dpkg-deb", "--field", str(file), *FIELDS),
        deadline=Deadline(LOOK_SECONDS, f"read {file.name}"),
        hint=f"remove {file} and fetch it again",
    )
    pairs = (line.split(": ", 1) for line in done.output.splitlines() if ": " in line)
    return {"Package": file.stem, **{name: value for name, value in pairs if name in FIELDS}}


def missing_packages(stanzas: Mapping[str, Stanza]) -> list[str]:
    """What a kernel still needs of its packages, by name; empty when it is whole.

    Debian's own kernels come in four packages up to 6.18 (image, headers, headers-common, kbuild) and in six
    later; those of `make bindeb-pkg` in two. What belongs to the headers, these say themselves.
    """
    images = [
        match
        for name, stanza in stanzas.items()
        # Since 6.19 linux-image is empty and brings linux-binary.
        if (match := _IMAGE.fullmatch(name)) and "linux-binary-" not in stanza.get("Depends", "")
    ]
    headers = [match for name in stanzas if (match := _HEADERS.fullmatch(name))]
    releases = dict.fromkeys(match["release"] for match in (*images, *headers))
    if not releases:
        return ["linux-image-RELEASE", "linux-headers-RELEASE and what it depends on"]
    missing: list[str] = []
    for release in releases:
        image = next((match[0] for match in images if match["release"] == release), None)
        apart = image is not None and image.startswith("linux-binary-")
        wanted = [f"linux-headers-{release}"]
        if f"linux-headers-{release}" in stanzas:
            wanted += needed_names(stanzas[f"linux-headers-{release}"])
        if image is None:
            missing.append(f"linux-image-{release} or linux-binary-{release} (or the -unsigned one)")
        if apart:
            wanted.append(f"linux-modules-{release}")
        missing += [name for name in wanted if name not in stanzas]
    return missing
