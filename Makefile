# Debian with git, make and python3-venv is enough. Online once, for the packages; offline afterwards.
PYTHON ?= python3
BIN := .venv/bin
DEMO := outputs/demo
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all lint

demo: .venv/.installed
	$(BIN)/latent-guard generate "a pirate party" --safe --compare --num-images 4 --out $(DEMO)
	@echo "The images are in $(CURDIR)/$(DEMO); $(DEMO)/compare.png shows them side by side with the unguarded ones."

# One pip command resolves torch and torchvision together, so that they match.
.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -e .
	touch $@

.venv/.installed-test: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -e '.[test]'
	touch .venv/.installed $@

test: .venv/.installed-test
	@.ci/chromium
	$(BIN)/python -m pytest -n auto

test-all: .venv/.installed-test
	@.ci/chromium
	$(BIN)/python -m pytest -n auto -m "not gpu and not network"

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry --no-ansi latent_guard
