# Needs only `python3` and `make`: each target first sets up its virtual environment.
#
#   make demo    train on generated patients, evaluate, draw a prediction (minutes)
#   make test    run all tests
#   make check   check lint, format and types
#   make format  fix lint and format where that is possible automatically
#   make docs    write the generated tables, then build the pages
#   make site    build the pages in site/, and check their links
#   make venv    set up the environment only; make venv EXTRAS=cuda for a GPU

PYTHON ?= python3
VENV ?= .venv
# Extras of pyproject.toml for the tests; dev,torch adds the comparison with PyTorch.
EXTRAS ?= dev
PYTEST_ARGS ?= -n 2 --dist worksteal
DEMO_ARGS ?=

# The pages are built in an environment of their own: it needs no JAX.
SITE_VENV := .venv-site

BIN := $(VENV)/bin
comma := ,
READY := $(VENV)/ready
DEV := $(VENV)/ready-$(subst $(comma),-,$(EXTRAS))

# Keep compiled programs for the next run, and use huge pages, which save 15-20 % of a
# training step on a CPU. Values that the user has set take precedence.
demo test: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
demo test: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.DEFAULT_GOAL := help
.PHONY: help venv demo test check format docs site

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

venv: $(DEV)

demo: $(READY)
	$(BIN)/python -m mtl_jax.main --config=configs/demo.py $(DEMO_ARGS)

test: $(DEV)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/hadolint Containerfile

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m docs.reference.configuration
	$(BIN)/python -m docs.reference.model_zoo
	$(BIN)/python -m docs.architecture
	$(MAKE) site

site: $(SITE_VENV)/ready
	$(SITE_VENV)/bin/zensical build --strict --clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "mtl_jax needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
	    "choose another: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# $(call install,[EXTRAS]) installs this checkout with the package versions that were
# tested for the venv's Python. Apache Beam needs older versions of some packages.
define install
@echo "Installing into $(VENV) (a minute or two) ..."
@$(BIN)/python -m pip install -qq --editable '.$(1)' --constraint \
  constraints/$(if $(findstring beam,$(1)),beam-)$$( \
  $(BIN)/python -c 'import sys; print("py311" if sys.version_info < (3, 12) else "newest")' \
).txt
endef

$(READY): pyproject.toml $(wildcard constraints/*.txt) | $(BIN)/python
	$(call install,)
	@touch $@

$(DEV): pyproject.toml $(wildcard constraints/*.txt) | $(BIN)/python
	$(call install,[$(EXTRAS)])
	@touch $@ $(READY)

$(SITE_VENV)/ready: docs/requirements.txt
	$(PYTHON) -m venv $(SITE_VENV)
	@$(SITE_VENV)/bin/python -m pip install -qq --requirement $<
	@touch $@
