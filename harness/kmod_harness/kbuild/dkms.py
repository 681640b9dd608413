# SPDX-License-Identifier: MIT
"""dkms.conf: what it says about building for one kernel.

It is a bash script, so it runs in the sandbox, as dkms(8) would source it; all that depends on the kernel's
release is decided there, in bash's own regular expressions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DKMS_CONF = "dkms.conf"
DKMS_TREE = Path("/var/lib/dkms")
MARK = "\x01dkms.conf has been read\x01"

# $1 release, $2 architecture as `uname -m` says it, $3 build tree, $4 module, $5 version.
EVALUATE = r"""
kernelver=$1 arch=$2 kernel_source_dir=$3 module=$4 module_version=$5
dkms_tree=/var/lib/dkms source_tree=/usr/src install_tree=/lib/modules tmp_location=/tmp
build_dir=$PWD
unset ${!MAKE*} ${!BUILD_EXCLUSIVE*} PATCH PATCH_MATCH
. ./dkms.conf
mark=$'\x01dkms.conf has been read\x01'
say() { printf '%s\0%s\0' "$1" "$2"; }
config() {
  case $1 in
    !*) ! grep -q "^${1#!}=[ym]" "$kernel_source_dir/.config" ;;
    *) grep -q "^$1=[ym]" "$kernel_source_dir/.config" ;;
  esac
}
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
printf '\n%s' "$mark"
say name "$PACKAGE_NAME"
say version "$PACKAGE_VERSION"
[[ $BUILD_EXCLUSIVE_KERNEL && ! $kernelver =~ $BUILD_EXCLUSIVE_KERNEL ]] &&
  say excluded "BUILD_EXCLUSIVE_KERNEL=$BUILD_EXCLUSIVE_KERNEL"
[[ $BUILD_EXCLUSIVE_KERNEL_MIN ]] && older "$kernelver" "$BUILD_EXCLUSIVE_KERNEL_MIN" &&
  say excluded "BUILD_EXCLUSIVE_KERNEL_MIN=$BUILD_EXCLUSIVE_KERNEL_MIN"
[[ $BUILD_EXCLUSIVE_KERNEL_MAX ]] && older "$BUILD_EXCLUSIVE_KERNEL_MAX" "$kernelver" &&
  say excluded "BUILD_EXCLUSIVE_KERNEL_MAX=$BUILD_EXCLUSIVE_KERNEL_MAX"
[[ $BUILD_EXCLUSIVE_ARCH && ! $arch =~ $BUILD_EXCLUSIVE_ARCH ]] &&
  say excluded "BUILD_EXCLUSIVE_ARCH=$BUILD_EXCLUSIVE_ARCH"
for word in $BUILD_EXCLUSIVE_CONFIG; do
  config "$word" || say excluded "BUILD_EXCLUSIVE_CONFIG=$word"
done
[[ ${MAKE_MATCH[0]} ]] || command=${MAKE[0]}
for i in "${!MAKE[@]}"; do
  [[ ${MAKE[$i]} && ${MAKE_MATCH[$i]} && $kernelver =~ ${MAKE_MATCH[$i]} ]] && command=${MAKE[$i]}
done
say make "$command"
for i in "${!PATCH[@]}"; do
  [[ ! ${PATCH_MATCH[$i]} || $kernelver =~ ${PATCH_MATCH[$i]} ]] && say patch "${PATCH[$i]}"
done
say before "$PRE_BUILD"
say after "$POST_BUILD"
count=${#BUILT_MODULE_NAME[@]}
((${#DEST_MODULE_LOCATION[@]} > count)) && count=${#DEST_MODULE_LOCATION[@]}
for ((i = 0; i < (count ? count : 1); i++)); do
  name=${BUILT_MODULE_NAME[$i]}
  ((${#DEST_MODULE_LOCATION[@]} <= 1)) && name=${name:-$PACKAGE_NAME}
  where=${BUILT_MODULE_LOCATION[$i]}
  where=${where:+${where%/}/}
  [[ $name ]] && say built "$where$name.ko"
done
for word in "${BUILD_DEPENDS[@]}"; do say needs "$word"; done
exit 0
"""


@dataclass(frozen=True)
class DkmsConf:
    """What a dkms.conf says for one kernel."""

    name: str
    version: str
    excluded: str  # why it is not meant for this kernel, e.g. "BUILD_EXCLUSIVE_KERNEL=^5"; empty: it is
    make: str  # the command that builds; empty: kbuild in the folder
    patches: tuple[str, ...]  # files of patches/
    before: str  # PRE_BUILD: a script and its arguments
    after: str  # POST_BUILD
    built: tuple[str, ...]  # the .ko files that come of it, relative to the folder
    needs: tuple[str, ...]  # names of other packages to build first
    complaints: tuple[str, ...]  # what bash said while it read the file


def parse_answers(output: str) -> DkmsConf | None:
    """What EVALUATE printed; None when the file could not be read to its end."""
    said, mark, answers = output.partition(MARK)
    if not mark:
        return None
    words = answers.split("\0")
    pairs = list(zip(words[::2], words[1::2], strict=False))

    def every(key: str) -> tuple[str, ...]:
        return tuple(value.strip() for name, value in pairs if name == key and value.strip())

    def first(key: str) -> str:
        return (every(key) or ("",))[0]

    return DkmsConf(
        name=first("name"),
        version=first("version"),
        excluded=first("excluded"),
        make=first("make"),
        patches=every("patch"),
        before=first("before"),
        after=first("after"),
        built=every("built"),
        needs=every("needs"),
        complaints=tuple(line for line in said.splitlines() if line.strip()),
    )


def field_of(text: str, name: str) -> str:
    """A plain field of a dkms.conf, read without running it; empty when it is not plain."""
    match = re.search(rf"""^\s*{name}(?:\[0\])?=["']?([\w.+~-]+)["']?\s*(?:#.*)?$""", text, re.MULTILINE)
    return match[1] if match else ""


def build_script(conf: DkmsConf, *, tree: Path, folder: Path, release: str, words: str) -> str:
    """The bash script that does what `dkms build` does with it (dkms 3.0, prepare_build and actual_build).

    tree: the kernel's build tree. folder: the module's. words: more for make, e.g. "-j2".
    """
    command = conf.make or f"make -C {tree} M={folder}"
    if command.startswith("make"):  # written 'make', it does not get these: dkms(8)
        command = f"make {words} KERNELRELEASE={release}{command.removeprefix('make')}"
    lines = [f"patch -p1 --batch < patches/{name} || exit 6" for name in conf.patches]
    lines += _script("PRE_BUILD", conf.before)
    lines += [f"{{ {command}", "} || exit"]
    return "\n".join([*lines, *_script("POST_BUILD", conf.after)])


def _script(what: str, call: str) -> list[str]:
    """As dkms runs a script of the package: if it can be executed, and whatever comes of it."""
    if not call:
        return []
    program = call.split(maxsplit=1)[0]
    warning = f"echo 'warning: {what} {program} is not there or not executable'"
    return [f"if [ -x ./{program} ]; then ./{call}; else {warning}; fi"]
