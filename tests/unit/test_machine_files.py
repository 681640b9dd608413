# SPDX-License-Identifier: MIT
"""What QEMU is given: command line, archives, keys, the unpacked kernel."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zlib
from pathlib import Path

import paramiko
import pytest

from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.machine import cpio
from kmod_harness.machine.keys import MachineKeys
from kmod_harness.machine.qemu import BootFiles, host_tsc_khz, kernel_command_line, qemu_argv
from kmod_harness.machine.spec import MachineSpec, load_machine_spec, parse_machine_spec
from kmod_harness.machine.vmlinux import ELF, uncompressed_kernel, unpack_bzimage

SPEC = MachineSpec(
    name="tiny",
    arch="x86_64",
    qemu="qemu-system-x86_64",
    machine="q35",
    firmware="qboot.rom",
    cpu="max",
    memory=256,
    cpus=1,
    device_bus="pci",
    modules=("virtio_net",),
    command_line=("console=ttyS0", "tsc_early_khz={tsc_khz}"),
)


def test_qemu_command_line() -> None:
    boot = BootFiles(Path("/k"), Path("/i"), "console=ttyS0")
    argv = qemu_argv(SPEC, "tcg", boot, monitor_fd=5, agent_fd=6, console=Path("/logs/a,b/console.log"))
    assert " ".join(argv) == (
        "qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 256 -smp 1 -nodefaults -no-user-config"
        " -no-reboot -display none -bios qboot.rom -kernel /k -initrd /i -append console=ttyS0"
        " -chardev file,id=console,path=/logs/a,,b/console.log -serial chardev:console"
        " -chardev socket,id=monitor,fd=5 -mon chardev=monitor,mode=control"
        " -device virtio-serial-pci -chardev socket,id=agent,fd=6"
        " -device virtserialport,chardev=agent,name=agent"
        " -netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"
        " -device virtio-net-pci,netdev=net,romfile="
    )


def test_kvm_gets_the_hosts_cpu() -> None:
    argv = qemu_argv(
        SPEC, "kvm", BootFiles(Path("/k"), Path("/i"), ""), monitor_fd=5, agent_fd=6, console=Path("/c")
    )
    assert argv[argv.index("-cpu") + 1] == "host"


def test_kernel_command_line_and_tsc(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nbogomips\t: 5399.99\nflags\t: fpu\n", encoding="utf-8")
    assert host_tsc_khz(cpuinfo) == 2699995
    assert kernel_command_line(SPEC, 2699995) == "console=ttyS0 tsc_early_khz=2699995"
    more = ("slub_debug=FZP", "dyndbg={}")
    assert kernel_command_line(SPEC, 5, more) == "console=ttyS0 tsc_early_khz=5 slub_debug=FZP dyndbg={}"


def test_every_machine_file_can_be_read() -> None:
    spec = load_machine_spec("q35")
    assert spec.arch == "x86_64"
    assert "panic=-1" in spec.command_line


def test_machine_files_are_checked() -> None:
    for name in ("warp", "kernels"):
        with pytest.raises(UsageError, match=f"no machine named {name}; there is: microvm, q35"):
            load_machine_spec(name)
    with pytest.raises(UsageError, match="memory"):
        parse_machine_spec("name: q35\n", Path("x.yaml"))


def _parse_cpio(data: bytes) -> dict[str, tuple[int, bytes]]:
    """A reader written from the format's description, not from our writer."""
    result: dict[str, tuple[int, bytes]] = {}
    position = 0
    while True:
        assert data[position : position + 6] == b"070701"
        fields = [int(data[position + 6 + 8 * n : position + 14 + 8 * n], 16) for n in range(13)]
        name = data[position + 110 : position + 110 + fields[11] - 1].decode()
        start = (position + 110 + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            return result
        result[name] = (fields[1], data[start : start + fields[6]])
        position = (start + fields[6] + 3) & ~3


def test_archive_can_be_read_back_and_is_padded() -> None:
    data = cpio.archive(
        [cpio.folder("root", 0o700), cpio.file("root/x", b"odd", 0o600), cpio.link("bin/sh", "busybox")]
    )
    assert _parse_cpio(data) == {
        "root": (0o40700, b""),
        "root/x": (0o100600, b"odd"),
        "bin/sh": (0o120777, b"busybox"),
    }
    assert len(data) % 512 == 0


def test_keys_fit_together_and_differ_between_machines() -> None:
    keys, others = MachineKeys(), MachineKeys()
    assert keys.host_key_blob() != others.host_key_blob()
    assert keys.authorized_key() != others.authorized_key()
    kind, secret = struct.unpack(">I11sI64s", keys.dropbear_host_key())[1::2]
    assert kind == b"ssh-ed25519"
    # The second half of what dropbear stores is the public key that clients will be shown.
    assert keys.host_key_blob().endswith(secret[32:])
    assert paramiko.Ed25519Key(data=keys.host_key_blob()).get_name() == "ssh-ed25519"
    assert paramiko.Ed25519Key(data=keys.client.asbytes()).get_base64() in keys.authorized_key()


def _bzimage(payload: bytes) -> bytes:
    image = bytearray(512 * 3) + b"\0" * 64 + payload
    image[0x1F1] = 2
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image)


def _lz4_legacy(data: bytes) -> bytes:
    import lz4.block

    block: bytes = lz4.block.compress(data, store_size=False)
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block + struct.pack("<I", len(data))


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data) + struct.pack("<I", len(data))


def _gzip(data: bytes) -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as packed:
        packed.write(data)
    return stream.getvalue()


@pytest.mark.parametrize("pack", [_lz4_legacy, _zstd, _gzip, lzma.compress])
def test_every_compression_is_undone(pack: object) -> None:
    kernel = ELF + bytes(range(256)) * 1000
    assert callable(pack)
    assert unpack_bzimage(_bzimage(pack(kernel))) == kernel


@pytest.mark.parametrize("image", [b"\0" * 4096, _bzimage(b"????"), _bzimage(zlib.compress(b"no kernel"))])
def test_what_is_no_kernel_is_refused(image: bytes) -> None:
    with pytest.raises(HarnessError):
        unpack_bzimage(image)


def test_unpacked_kernel_is_made_once_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(_bzimage(_gzip(ELF + b"kernel")))
    first = uncompressed_kernel(image, tmp_path / "cache")
    assert first.read_bytes() == ELF + b"kernel"
    stamp = first.stat().st_mtime_ns
    assert uncompressed_kernel(image, tmp_path / "cache").stat().st_mtime_ns == stamp
    image.write_bytes(_bzimage(b"broken"))
    with pytest.raises(HarnessError):
        uncompressed_kernel(image, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache/vmlinux").iterdir()] == [first.name]
