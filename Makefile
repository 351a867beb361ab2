# make demo: train on the digits that scikit-learn brings.   make test: everything that CI runs.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench lint clean

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

demo: .venv/installed
	$(BIN)/goodfit train digits

lint: .venv/installed-test
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadgroup

bench: .venv/installed-test  # those that need no data; the others say in their first lines what they take
	$(BIN)/python -W ignore benchmarks/augment.py --side 32
	$(BIN)/python -W ignore benchmarks/augment.py --side 224
	$(BIN)/python -W ignore benchmarks/augment_pipelines.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/watch.py --steps 102 --rounds 1

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
