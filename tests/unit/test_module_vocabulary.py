# SPDX-License-Identifier: MIT
"""The table of taint flags."""

from __future__ import annotations

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.module.vocabulary import TAINT_FLAGS, taint_bits, taint_letters, taint_meaning


def test_table_is_complete() -> None:
    """Letters as in kernel/panic.c of 7.3, bit 0 first."""
    assert "".join(flag.letter for flag in TAINT_FLAGS) == "PFSRMBUDAWCIOELKXTNJ"
    assert [flag.bit for flag in TAINT_FLAGS] == list(range(20))


def test_letters_and_bits() -> None:
    assert taint_letters(0) == ()
    assert taint_letters(4096 + 8192 + 128) == ("D", "O", "E")
    assert taint_letters(1 << 30) == ("bit 30",)
    assert taint_bits(("D", "O", "E")) == 4096 + 8192 + 128


def test_unknown_letter() -> None:
    assert taint_meaning("?") == "unknown taint flag"
    with pytest.raises(UsageError, match="taint flag 'Z'"):
        taint_bits(("O", "Z"))
