# SPDX-License-Identifier: MIT
#   make vm-test    fresh machine: installs what is missing, fetches a kernel, builds, boots, tests, reports
#   make test       everything that CI runs
#   make test-every-kernel   the long tests on all kernels, where make test gives each case to one of them
#   make chaos      random modules get stuck and are rescued; N=2000, FIRST=1, KERNELS
#   make check      what needs no virtual machine: formats, types, unit tests
#   make docs       the figures of docs/ and the recorded terminal anew
#   make field-trial   other people's modules: Debian's dkms packages; RELEASE=bookworm KERNELS=6.1
#   make samples    the kernel's own sample modules; KERNELS=6.12-cloud
#   make benchmark  how fast all this is here, beside its goals; OPTIONS="--only clone --quiet 60"
# KERNELS="5.10 6.12" chooses the kernels of vm-test.

PYTHON ?= python3
VENV ?= .venv
KERNELS ?= 6.12
# Small ones: our own modules need no drivers, and five of the ordinary kernels are 0.5 GB to fetch.
ALL_KERNELS := 5.10-cloud 6.1-cloud 6.12-cloud 7.2-cloud 7.3-cloud
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A machine that is busy elsewhere is late, and not wrong.
PATIENT := KMOD_HARNESS_TIMEOUT_FACTOR=3
kernel_options = $(foreach kernel,$(1),--kernel $(kernel))

.PHONY: chaos field-trial samples vm-test test test-every-kernel check benchmark docs clean setup

vm-test: setup
	$(BIN)/invoke vm-test $(call kernel_options,$(KERNELS))

test: setup check
	$(PATIENT) $(BIN)/pytest -n auto --durations=15 -m vm tests/vm kmod $(call kernel_options,$(ALL_KERNELS))

# The same without leaving out kernels of the long tests.
test-every-kernel: setup check
	$(PATIENT) $(BIN)/pytest -n auto --every-kernel -m vm tests/vm kmod $(call kernel_options,$(ALL_KERNELS))

# The numbers that failed are the ones to try again: FIRST=17 N=1.
FIRST ?= 1
N ?= 100
chaos: setup
	$(BIN)/pytest -n auto -m vm tests/vm/test_chaos.py --chaos $(FIRST)-$(shell expr $(FIRST) + $(N) - 1) \
		$(call kernel_options,$(ALL_KERNELS))

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/pytest -n auto -m "not vm" tests

# Every NAME-dkms package of a Debian release, beside dkms itself; hours for all of them.
RELEASE ?= bookworm
field-trial: setup
	$(BIN)/python -m benchmarks.field_trial --release $(RELEASE) --kernel $(firstword $(KERNELS)) $(OPTIONS)

samples: setup
	$(BIN)/python -m benchmarks.samples --kernel $(firstword $(KERNELS)) $(OPTIONS)

benchmark: setup
	$(BIN)/python -m benchmarks.speed $(OPTIONS)

docs: setup
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/recording.py

# The only step that may need root: programs such as QEMU, once.
setup: $(READY)
	@$(BIN)/kmod-harness doctor --install

$(READY): pyproject.toml
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	{ sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo apt-get update -q && $$sudo apt-get install -q -y python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	[ ! -x $(BIN)/kmod-harness ] || $(BIN)/kmod-harness clean
	rm -rf $(VENV)
