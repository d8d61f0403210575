# make ask | test | check | docs | eval      (make help)
# Repeated calls are quick: stamp files in .venv say what is installed.

VENV   ?= .venv
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)
DB     ?= demo.sqlite
Q      ?=
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help ask test check lint docs eval clean

help:
	@echo 'make ask                 install, and answer a question on a demo database'
	@echo 'make ask Q="…" DB=path   answer your own question'
	@echo 'make test                install everything for development and run the tests'
	@echo 'make check               ruff, formatting, mypy, documentation'
	@echo 'make docs                write docs/cli.md from the commands'
	@echo 'make eval DATA=dev.json DATABASES=database/ [ARGS=…]   measure accuracy'

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'plainsql needs Python 3.11 or newer as python3 (or PYTHON=…).' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'This Python cannot make virtual environments: apt install python3-venv' >&2; exit 1; }
	@echo 'Making $(VENV) …' >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo 'No virtual environment could be made: apt install python3-venv' >&2; exit 1; }

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo 'Installing plainsql …' >&2
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo 'Installing plainsql with what training and tests need (torch is large) …' >&2
	@$(PIP) --editable '.[dev,train]'
	@touch $@ $(VENV)/.core

ask: $(VENV)/.core
ifeq ($(DB),demo.sqlite)
	@$(BIN)/plainsql demo --examples --path '$(DB)' >/dev/null 2>&1
endif
	@Q="$${Q:-$$($(BIN)/plainsql demo --examples --path demo.sqlite 2>/dev/null | head -1)}"; \
	echo "# $$Q"; $(BIN)/plainsql ask "$$Q" -d '$(DB)'; code=$$?; \
	echo; echo 'Next:'; \
	echo '  make ask Q="your question" DB=your.sqlite'; \
	echo '  $(BIN)/plainsql ask "your question" -d $(DB) --explain'; \
	echo '  $(BIN)/plainsql demo          more questions on the demo database'; \
	exit $$code
export Q

test: $(VENV)/.dev
	@$(BIN)/python -m pytest

check lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m plainsql.cli.reference --check docs/cli.md

docs: $(VENV)/.core
	$(BIN)/python -m plainsql.cli.reference docs/cli.md
	$(BIN)/python -m plainsql.cli.reference --check docs/cli.md

eval: $(VENV)/.core
	@test -n "$(DATA)" -a -n "$(DATABASES)" || { \
		echo 'Usage: make eval DATA=dev.json DATABASES=database/ [ARGS="--exclude-db wta_1"]' >&2; exit 2; }
	$(BIN)/plainsql eval '$(DATA)' --databases '$(DATABASES)' $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
