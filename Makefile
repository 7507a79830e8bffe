# oddtide: `make demo` shows it, `make test` proves it. Everything happens in .venv; nothing else on the machine changes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help demo install test torture check format docs bench bench-quality dist clean

VENV := .venv
BIN := $(VENV)/bin
# Arguments for what is run: make demo ARGS="--exit-after 60", make test ARGS="-k ewma"
ARGS ?=

# The interpreter for a new .venv: PYTHON=... decides; else the first of these that is 3.11, 3.12 or 3.13.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Where a PostgreSQL server can be started its tests run, and the coverage gate holds.
POSTGRES := $(shell command -v initdb 2>/dev/null || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -n 1)
GATE := 95
help:  ## this list
	@echo "make demo      install into .venv and see it work, on a real Kafka (Ctrl-C ends it)"
	@echo "make test      the whole test suite with branch coverage (ARGS=... goes to pytest)"
	@echo "make torture   kill, freeze and starve workers at length (ARGS='--minutes 10 --seed 1', docs/torture.md)"
	@echo "make check     format, lint, types, architecture, dependencies, docs"
	@echo "make format    format and mend what can be mended by machine"
	@echo "make docs      write the generated pages (events, configuration, rejections) anew"
	@echo "make bench     measure this machine beside what one would pick instead (ARGS=\"--only latency\" ...)"
	@echo "make bench-quality  how well detectors detect, on labelled data (ARGS='--only nab --detectors ewma' ...)"
	@echo "make dist      build wheel and sdist into dist/"
	@echo "make clean     remove .venv, caches and build output; data folders stay"

demo: $(VENV)/.installed  ## see it work
	@$(BIN)/oddtide demo $(ARGS)

install: $(VENV)/.installed

test: $(VENV)/.installed-dev
	@rm -f .coverage .coverage.*
ifeq ($(ARGS),)
	@$(BIN)/python -m tests.lanes
else
	@$(BIN)/coverage run -m pytest $(ARGS)
endif
	@$(BIN)/coverage combine --quiet
ifneq ($(ARGS),)
	@echo "# a part of the suite was run: no coverage gate"
else ifeq ($(POSTGRES),)
	@$(BIN)/coverage report | tail -n 1
	@echo "# no PostgreSQL server on this machine: its tests were skipped, so the coverage gate does not apply"
else
	@$(BIN)/coverage report --fail-under=$(GATE)
endif

torture: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.torture $(ARGS)

check: $(VENV)/.installed-dev
	@echo "# format";        $(BIN)/ruff format --check --quiet .
	@echo "# lint";          $(BIN)/ruff check --quiet .
	@echo "# types";         $(BIN)/mypy --no-error-summary
	@echo "# architecture";  $(BIN)/lint-imports --no-logo > $(VENV)/contracts.log 2>&1 || { cat $(VENV)/contracts.log; exit 1; }
	@echo "# dependencies";  $(BIN)/deptry . > $(VENV)/deptry.log 2>&1 || { cat $(VENV)/deptry.log; exit 1; }
	@echo "# docs";          $(BIN)/python -m tests.packaging.pages --check
	@$(BIN)/python -m tests.packaging.blocks
	@echo "all checks passed"

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.packaging.pages

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quality: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks.quality $(ARGS)

dist: $(VENV)/.installed-dev
	@rm -rf dist
	@$(BIN)/python -m hatchling build

clean:
	@rm -rf $(VENV) .venv-rivals build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*

# --- the environment: made once, brought up to date when pyproject.toml changes ---
$(BIN)/python:
	@for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(SUPPORTED)' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [[ -z "$${found:-}" ]]; then \
	  echo "No Python 3.11, 3.12 or 3.13 among: $(CANDIDATES)." >&2; \
	  echo "Install one, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	echo "# making $(VENV) with $$("$$found" --version)"; \
	if ! problem=$$("$$found" -m venv $(VENV) 2>&1); then \
	  rm -rf $(VENV); echo "$$problem" >&2; \
	  echo "This Python cannot make environments: its venv or ensurepip module is missing." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv; then run make again." >&2; exit 1; \
	fi

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "# installing oddtide and what it needs (once; a minute or a few, depending on the line)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "# installing oddtide and what its tests need (once; a minute or a few, depending on the line)"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable '.[postgres]' --group dev
	@touch $@ $(VENV)/.installed
