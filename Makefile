# Photos in, two exact indexes out. `make help` lists what there is.

CONFIG ?= config/default.yaml
PYTHON ?= python3
BIN := .venv/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
# Exported, not expanded into a recipe: the shell then keeps its spaces, quotes and brackets together.
export SET
SETTINGS = --config "$(CONFIG)" $(if $(SET),--set "$$SET")
STAMP := .venv/.complete
# Of its own, as it holds servers that nothing but its tests needs.
CLUSTER_STAMP := .venv-cluster/.complete

.DEFAULT_GOAL := help
.PHONY: help setup index query test test-browser test-cluster soak lint bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  CONFIG=FILE chooses the settings (now $(CONFIG)), SET='key.path=value' changes one, and"
	@echo "  SET='one.key=value another.key=value' several. Spaces within a value are kept; quote one"
	@echo "  that looks like a setting: SET='source={type: folder, path: /my photos} name=shop'."

setup: $(STAMP)  ## Make .venv with everything pinned; again when pyproject or constraints change

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

index: $(STAMP)  ## Ingest, train, embed, index: whatever is out of date, for every engine; then report
	$(BIN)/imgsearch build $(SETTINGS)
	$(BIN)/imgsearch report $(SETTINGS)

query: $(STAMP)  ## Find what looks like a photo: make query IMAGE=photo.jpg
	@test -n "$(IMAGE)" || { echo "which photo? make query IMAGE=photo.jpg"; exit 2; }
	$(BIN)/imgsearch query $(SETTINGS) "$(IMAGE)"

# Where this is set, each of the processes that tests start compiles the same modules anew.
test test-browser test-cluster soak: export PYTHONDONTWRITEBYTECODE :=

test: $(STAMP)  ## Run the tests
	$(BIN)/pytest -n 2 --ignore=tests/browser --ignore=tests/cluster

test-browser: $(STAMP)  ## Run the tests of the page, in Debian's Chromium
	$(BIN)/pytest -rs tests/browser

test-cluster: $(CLUSTER_STAMP)  ## Run the tests that start real servers, in .venv-cluster
	.venv-cluster/bin/pytest -rs tests/cluster

$(CLUSTER_STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-cluster
	.venv-cluster/bin/pip install --quiet --editable '.[dev,cluster]'
	@touch $@

soak: $(STAMP)  ## Run every case of the tests that try thousands, of which `make test` takes a sample
	$(BIN)/pytest -n 2 --soak -m soak

lint: $(STAMP)  ## Check formatting, style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## Measure what docs/benchmarks.md states (DATA=folder of the reference data, if you have it)
	$(BIN)/python benchmarks/bench.py $(if $(DATA),--data "$(DATA)")

clean:  ## Remove .venv and caches; `imgsearch clean` is for indexes
	rm -rf .venv .venv-cluster build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
