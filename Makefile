# Two commands do everything on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO := runs/demo

.PHONY: help demo test test-fast check format bench bench-kernels docs miniatures browser clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(READY): $(INSTALLED)
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## audit the embedded pair: a real model and its RL-trained child
	$(BIN)/audit compare demo --preset quick --behaviour gender-occupation --out $(DEMO)
	$(BIN)/audit verify $(DEMO)

test: $(READY) ## all tests, with line coverage
	-$(BIN)/audit fetch # without network the tests of the demo model are skipped, and say so
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term --cov-fail-under=90

test-fast: $(READY) ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 -m "not slow"

check: $(READY) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## mend format and lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## time and memory of every stage; harvest, dictionaries and features against their floors
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/grpo.py
	$(BIN)/python benchmarks/training_step.py --tiny
	$(BIN)/python benchmarks/harvest.py
	$(BIN)/python benchmarks/dictionaries.py
	$(BIN)/python benchmarks/trainers.py --steps 100
	$(BIN)/python benchmarks/streaming.py --steps 100
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/dashboard.py
	$(BIN)/python benchmarks/report.py --suites 6

bench-kernels: $(READY) ## sparse encode, decode and backward beside rivals; on a GPU where there is one
	$(BIN)/python kernels/benchmarks/run.py

docs: $(READY) ## print the reference pages that are made from the code
	$(BIN)/python -m audit.evidence.reference docs/run_folder.md
	$(BIN)/python -m audit.gate.reference docs/gate.md

miniatures: $(READY) ## make the small invented runs under tests/data/runs again
	$(BIN)/python -m audit.evidence.miniature tests/data/runs

browser: ## a browser, for tests of pages (Debian)
	apt-get install --yes --no-install-recommends chromium

clean: ## remove what the other targets made, but for the runs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist *.egg-info
