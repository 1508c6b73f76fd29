# `make demo` and `make test` set up everything they need in .venv; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# of the 18,000 files that come with the packages few are ever imported; those are compiled then, once, and not by every
# process that starts, as where the environment forbids to write what was compiled
INSTALL := $(PIP) install --no-compile
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready
# one process of tests for every processor, each with one thread of torch
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: help demo live test lint types unit clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: $(READY) ## translate the bundled talk with two policies and score them
	@$(BIN)/simulst demo

live: $(READY) ## serve live subtitles at http://127.0.0.1:8765
	@$(BIN)/simulst live

test: lint types ## lint, types and all tests; slow ones last, those of pretrained weights where they are found
	@$(PYTEST)

unit: $(READY) ## the fast tests only
	@$(PYTEST) -m "not slow and not real"

lint: $(READY) ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

clean: ## remove .venv and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "simulst needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "$(PYTHON) has no working venv module; install it (Debian: python3-venv)"; exit 1; }
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(INSTALL) torch==2.13.0
	@$(INSTALL) -r requirements.txt -r requirements-dev.txt
	@$(INSTALL) --no-deps fairseq2==0.8.1 simuleval==1.1.4
	@$(PIP) install --no-deps -e .
	@touch $@
