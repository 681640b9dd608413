# SPDX-License-Identifier: MIT
import pytest


@pytest.mark.vm
def test_attribute(guest, build_module):
    (ko,) = build_module("~/src/my_driver")
    assert guest.load(guest.put(ko), {"debug": "1"}) == "ok"
    assert guest.read("/sys/module/my_driver/parameters/debug") == "Y\n"
