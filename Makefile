# Debian with git, make and python3-venv is enough. Online once, for the packages; offline afterwards.
PYTHON ?= python3
BIN := .venv/bin
DEMO := outputs/demo
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all lint docs test-litellm

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

# LiteLLM's pins would change other packages, so its proxy has an environment of its own.
.venv-litellm/.installed:
	test -x .venv-litellm/bin/python || $(PYTHON) -m venv .venv-litellm
	.venv-litellm/bin/pip install --disable-pip-version-check 'litellm[proxy]>=1.80'
	touch $@

test-litellm: .venv/.installed-test .venv-litellm/.installed
	LATENT_GUARD_LITELLM=$(CURDIR)/.venv-litellm/bin/litellm \
		$(BIN)/python -m pytest -m slow tests/serving/moderation/test_litellm.py

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry --no-ansi latent_guard

docs: .venv/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f docs/site/mkdocs.yml
	@echo "The pages are in $(CURDIR)/outputs/site; python3 -m http.server -d outputs/site shows them."
