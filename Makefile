# `make help` names the targets. KERNEL chooses the lab's kernel (default 6.1), PYTHON the interpreter
# that .venv is made with. `make install` is explained in systemd/install.sh.

SHELL := /bin/bash
KERNEL ?= 6.1
export KERNEL PYTHON PREFIX DESTDIR EXTRAS

bin := .venv/bin
step := tests/lab/step.sh
lab := $(bin)/python tests/lab/lab.py
# Emulation is slow: in the lab a test may take longer than on the host.
kernel-tests := pytest tests/kernel --timeout 300
# What a kernel can answer otherwise than another: the commands and the targets, watched while they are
# tested; with DMWATCH_LONG=1 what is told of them, too.
briefly := targets/told test_cli.py test_watch.py
elsewhere := devices journal systemd $(if $(filter 1,$(DMWATCH_LONG)),,$(briefly))
matrix-tests := $(kernel-tests) $(addprefix --ignore tests/kernel/,$(elsewhere))

.NOTPARALLEL:
.PHONY: help setup run test test-long test-kernels bench lint host-tests kernel-tests install uninstall staged

help:
	@echo "make setup         Debian packages, .venv, the lab (root only where packages are missing)"
	@echo "make run           watch a real kernel play a storage story (1 to 2 minutes)"
	@echo "make test          lint, host tests, kernel tests in the lab; KERNEL=6.12 for another kernel"
	@echo "make test-long     the same with the long tests"
	@echo "make test-kernels  those of commands and targets on 5.10, 6.1, 6.12 and 7 (25 minutes)"
	@echo "make bench         what it costs, as ratios (about 10 minutes)"
	@echo "make lint          ruff, mypy, the layers"
	@echo "make install       the daemon into PREFIX (default /opt/dmwatch), as root"
	@echo "make uninstall     take it away, but for the configuration and the journal"

setup:
	@tests/lab/setup.sh

run: setup
	@$(step) "a storage story under Linux $(KERNEL)" $(lab) --timeout 1200 -- python tests/lab/story.py

test: setup lint host-tests kernel-tests
	@echo "== make test: all passed"

test-long: export DMWATCH_LONG := 1
test-long: setup lint host-tests kernel-tests
	@echo "== make test-long: all passed"

test-kernels: setup
	@tests/lab/matrix.sh $(matrix-tests)

bench: setup
	@for script in $(filter-out %/bench_watch.py,$(wildcard tests/bench/bench_*.py)); do \
	  $(step) "$$script" $(bin)/python $$script || exit; done
	@$(step) "watching, Linux $(KERNEL)" $(lab) --timeout 900 -- python tests/bench/bench_watch.py

lint:
	@tests/lab/setup.sh venv
	@$(step) "ruff check" $(bin)/ruff check
	@$(step) "ruff format" $(bin)/ruff format --check
	@$(step) "mypy" $(bin)/mypy
	@$(step) "layers" $(bin)/lint-imports

host-tests:
	@$(step) "host tests" $(bin)/pytest $(wildcard tests/unit tests/property tests/plugin tests/lab)

# Collecting first on the host finds broken imports early, and leaves byte code for the guest.
kernel-tests: staged
	@$(step) "kernel tests, collected" $(bin)/pytest tests/kernel --collect-only -qq
	@$(step) "kernel tests in the lab, Linux $(KERNEL)" $(lab) --timeout 3000 -- $(kernel-tests)

install uninstall:
	@systemd/install.sh $@

# What the kernel test of the daemon under systemd lays over the guest's root.
staged:
	@$(step) "the daemon, installed for the lab" tests/kernel/systemd/stage.sh
