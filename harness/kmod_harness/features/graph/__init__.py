# SPDX-License-Identifier: MIT
"""`graph` and `unload-order`: who uses whom, and what must go before a module can."""
