# Every target sets up the virtual environment it needs; only make and a Python 3.11 to 3.13 are required.
#   make demo       derive, solve and validate bilinear sequence regression
#   make test       linters, types, import contracts, the default tests
#   make test-all   the same with the slow tests; make bench: the timed ratios; make lint: no tests
# Another interpreter or folder: make test PYTHON=/path/to/python3.12 VENV=/tmp/venv

VENV    ?= .venv
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)
BIN     := $(VENV)/bin
# two workers, a file to a worker (each derives a model once), in the order of the files (else the notebooks, one
# long test, come last and alone); one BLAS thread each
PYTEST  := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
PIP     := $(BIN)/python -m pip -qq --disable-pip-version-check

.PHONY: demo test test-all bench lint
.DEFAULT_GOAL := test

demo: $(VENV)/.runtime
	$(BIN)/replica demo

test: lint
	$(PYTEST) $(PYTEST_ARGS)

test-all: lint
	$(PYTEST) -m "not benchmark" $(PYTEST_ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m benchmark $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tools/strip_notebooks.py --check notebooks/*.ipynb

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --group dev
	@touch $@

# Dependency groups need pip 25.1.
$(VENV)/.runtime: pyproject.toml $(BIN)/python
	@echo "installing into $(VENV), a minute or two"
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install --editable .
	@touch $@

# Made once, when missing.
$(BIN)/python:
	@problem="no Python 3.11, 3.12 or 3.13 among: $(PYTHONS); choose one with make PYTHON=/path/to/python"; \
	for python in $(PYTHONS); do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || continue; \
	  if $$python -c 'import ensurepip, venv' 2>/dev/null; then exec $$python -m venv --clear $(VENV); fi; \
	  problem="$$python has no venv module (on Debian and Ubuntu: apt install python3-venv)"; \
	done; \
	echo "error: $$problem" >&2; exit 1
