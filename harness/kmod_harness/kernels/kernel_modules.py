# SPDX-License-Identifier: MIT
"""The kernel's own modules: where they are, what they depend on, in which order they must be loaded."""

from __future__ import annotations

import functools
import gzip
import lzma
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from kmod_harness.base.errors import HarnessError
from kmod_harness.kernels.kernel import Kernel


def canonical(name: str) -> str:
    """A module's name as the kernel writes it: virtio-net.ko.xz -> virtio_net."""
    return name.partition(".")[0].replace("-", "_")


MODULE_ENDINGS = (".ko", ".ko.xz", ".ko.zst")


def module_files(folder: Path) -> list[Path]:
    """All modules below a folder, sorted; not those behind links (build/, source/)."""
    return sorted(path for path in folder.rglob("*.ko*") if path.name.endswith(MODULE_ENDINGS))


@functools.lru_cache(maxsize=32)
def _index(folder: Path) -> dict[str, Path]:
    return {canonical(path.name): path for path in module_files(folder)}


class DamagedError(Exception):
    """A file cannot be unpacked; the message says why."""


def read_module(path: Path) -> bytes:
    """The ELF object in a .ko, .ko.xz, .ko.gz or .ko.zst. DamagedError when it cannot be unpacked."""
    data = path.read_bytes()
    unpack = {".xz": lzma.decompress, ".gz": gzip.decompress, ".zst": _unpack_zstandard}.get(path.suffix)
    try:
        return unpack(data) if unpack else data
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise DamagedError(str(error)) from error


def _unpack_zstandard(data: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 (only where a kernel packs its modules so)

    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise DamagedError(str(error)) from error


def provides(kernel: Kernel, name: str) -> bool:
    """Whether the kernel has a module, as a file or built in."""
    builtin = kernel.modules / "modules.builtin"
    names = builtin.read_text(encoding="utf-8").splitlines() if builtin.is_file() else []
    return name in _index(kernel.modules) or name in {canonical(Path(one).name) for one in names}


def modinfo(image: bytes) -> dict[str, str]:
    """The key=value pairs of a module's .modinfo section; of repeated keys the first."""
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 (slow to import, rarely needed)

    section = ELFFile(BytesIO(image)).get_section_by_name(".modinfo")
    pairs = [] if section is None else section.data().split(b"\0")
    result: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.decode(errors="replace").partition("=")
        result.setdefault(key, value)
    return result


def dependencies(image: bytes) -> tuple[str, ...]:
    """Names of the modules that this one uses symbols of."""
    names = modinfo(image).get("depends", "")
    return tuple(canonical(name) for name in names.split(",") if name)


def soft_dependencies(image: bytes) -> tuple[str, ...]:
    """Names of the modules that should be loaded before this one, if there are any ("softdep: pre: a b")."""
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 (slow to import, rarely needed)

    section = ELFFile(BytesIO(image)).get_section_by_name(".modinfo")
    pairs = [] if section is None else section.data().decode(errors="replace").split("\0")
    texts = [pair.removeprefix("softdep=") for pair in pairs if pair.startswith("softdep=")]
    words = (word for text in texts for word in text.partition("pre:")[2].partition("post:")[0].split())
    return tuple(dict.fromkeys(canonical(word) for word in words))


def with_dependencies(kernel: Kernel, names: Iterable[str]) -> dict[str, bytes]:
    """The named in-tree modules and all they need, name -> ELF object, in loading order.

    A name that is not there as a file is taken to be built in.
    """
    index = _index(kernel.modules)
    result: dict[str, bytes] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise HarnessError(f"modules of {kernel.release} depend on each other: {' -> '.join(above)}")
        if name in result or name not in index:
            return
        image = read_module(index[name])
        for needed in dependencies(image):
            add(needed, (*above, name))
        result[name] = image

    for name in names:
        add(canonical(name), ())
    return result
