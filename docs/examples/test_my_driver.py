# SPDX-License-Identifier: MIT
import pytest


@pytest.mark.vm
def test_attribute(guest, load_module):
    load_module("~/src/my_driver", debug=1)
    assert guest.read("/sys/module/my_driver/parameters/debug") == "Y\n"
