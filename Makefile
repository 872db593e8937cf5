# `make quickstart` and `make test` need only Python >= 3.10 and the package registry.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install quickstart check test slow clean

install: $(VENV)/installed

# Installed anew only where setup.cfg has changed since.
$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

quickstart: install
	$(BIN)/rar_tf sweep --over=flagfile=flags/digits_natural.cfg,flags/digits_ig_sum_norm.cfg \
		--output_dir=runs/quickstart

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart=0

slow: install
	$(BIN)/python -m pytest -q -m slow

clean:
	rm -rf $(VENV) build *.egg-info runs
