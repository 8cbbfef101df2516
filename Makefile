# Everything lives in .venv, made from the exact versions of constraints.txt.
#
#   make demo     train, use and compare models on embedded images; leaves demo/report.html
#   make setup    the package, its command and what tests, checks and docs need
#   make test     all tests;  make check: formatter, linter, types, floors, docs;  make docs: docs/_build/html
#   make clean    remove what these leave behind, .venv included
#
# PYTHON=python3.12 chooses the interpreter (3.11 or newer); TORCH_INDEX=URL one more package index to take torch from.

PYTHON ?= python3
TORCH_INDEX ?=
PYTEST_WORKERS ?= 2

BIN := .venv/bin
# --no-compile: most of what is unpacked is never imported, and compiling all of it takes longer than all the rest.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: setup demo test check docs help-texts clean

setup: .venv/.ready-to-develop

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "imprior needs Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 2; }
	$(PYTHON) -m venv .venv

# Two stamps, so that a demo waits for no developer's tool.
.venv/.ready-to-use: constraints.txt pyproject.toml | .venv/bin/python
	$(INSTALL) --editable '.[report,classical]'
	@touch $@

.venv/.ready-to-develop: .venv/.ready-to-use
	$(INSTALL) --editable '.[report,classical,dev]'
	@touch $@

demo: .venv/.ready-to-use
	$(BIN)/imprior demo -o demo

# One thread a worker: two workers with two threads each are slower than either alone.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS)

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

docs: setup
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html

# The help texts that docs/cli keeps and tests/test_cli.py compares.
help-texts: setup
	IMPRIOR_UPDATE_HELP=1 $(BIN)/python -m pytest tests/test_cli.py -k help_text

clean:
	rm -rf .venv build dist demo docs/_build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
