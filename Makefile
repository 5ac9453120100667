# make demo   the whole method on real images, in one command
# make test   lint and the whole test suite
# make docs   the documentation, with every notebook executed (BUDGET=small for full numbers)
# make lab    the notebooks in JupyterLab
# make test-minimum   the quick tests with the oldest versions that pyproject.toml allows
.PHONY: demo test docs lab install lint pytest test-minimum bench clean

PYTHON ?= python3
BIN := .venv/bin
TORCH := $(shell grep '^torch==' constraints.txt)
OUT ?= runs/demo
BUDGET ?= tiny

install: .venv/.installed

# torch first and exactly: the pinned version's CPU build where one is at hand
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[notebooks,test,lint,browser,docs]'
	touch $@

demo: install
	$(BIN)/naslid search --data digits --preset demo --out $(OUT)

test: lint pytest

lint: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

# one thread a worker: more would wait for each other
pytest test-minimum: export OMP_NUM_THREADS = 1
pytest test-minimum: export OPENBLAS_NUM_THREADS = 1
pytest: install
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered

test-minimum: .venv-minimum/.installed
	.venv-minimum/bin/python -m pytest -n auto --dist worksteal --ignore tests/browser -m "not slow and not data"

# every lower bound of pyproject.toml as an exact version
.venv-minimum/.installed: pyproject.toml
	test -x .venv-minimum/bin/python || $(PYTHON) -m venv .venv-minimum
	grep -oE '[a-z0-9-]+>=[0-9.]+' pyproject.toml | sed 's/>=/==/' > .venv-minimum/constraints.txt
	.venv-minimum/bin/python -m pip install --quiet --constraint .venv-minimum/constraints.txt --editable '.[notebooks,test]'
	touch $@

docs: install
	$(BIN)/python docs/build.py --budget $(BUDGET)

lab: install
	$(BIN)/naslid lab

bench: install
	$(BIN)/python -m benchmarks.lid
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.widgets

clean:
	rm -rf .venv .venv-minimum runs docs/_build docs/notebooks docs/reference .pytest_cache .mypy_cache .ruff_cache
