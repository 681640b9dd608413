# SPDX-License-Identifier: MIT
"""Some tests are about QEMU or about this host, not about a kernel: one kernel is enough for those."""

from __future__ import annotations

import pytest

from harness.module_tests import kernel_specs


def pytest_configure(config: pytest.Config) -> None:
    """Announce the mark."""
    config.addinivalue_line("markers", "one_kernel: runs on the first --kernel only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the other kernels."""
    first = kernel_specs(config)[0]

    def wanted(item: pytest.Item) -> bool:
        spec = item.callspec.params.get("kernel", first) if hasattr(item, "callspec") else first
        return item.get_closest_marker("one_kernel") is None or spec == first

    dropped = [item for item in items if not wanted(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if wanted(item)]
