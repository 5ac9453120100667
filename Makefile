# make demo   the whole method on real images, in one command
# make test   lint and the whole test suite
.PHONY: demo test install lint pytest bench clean

PYTHON ?= python3
BIN := .venv/bin
TORCH := $(shell grep '^torch==' constraints.txt)
OUT ?= runs/demo

install: .venv/.installed

# torch first and exactly: the pinned version's CPU build where one is at hand
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[notebooks,test,lint,browser]'
	touch $@

demo: install
	$(BIN)/naslid search --data digits --preset demo --out $(OUT)

test: lint pytest

lint: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

pytest: install
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term:skip-covered

bench: install
	$(BIN)/python -m benchmarks.lid
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.widgets

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
