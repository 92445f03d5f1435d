# Everything works on a fresh machine with Linux and Python 3.10 to 3.13: the first target installs into .venv by itself.
.DELETE_ON_ERROR:
.PHONY: help demo test test-all check bench bench-export real-data checkpoints lock clean
PYTHON ?=
PY := .venv/bin/python
INSTALLED := .venv/.installed
SCANS ?=
WELDS ?= 360

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(INSTALLED): $(wildcard requirements/*.txt) bootstrap.sh pyproject.toml
	@PYTHON="$(PYTHON)" ./bootstrap.sh

demo: $(INSTALLED) ## nine typologies end to end; SCANS=folder runs your own scans
	@.venv/bin/cordon sim demo --welds $(WELDS) $(if $(SCANS),--scans "$(SCANS)")

test: $(INSTALLED) ## all tests that fit into minutes
	@$(PY) -m pytest

test-all: $(INSTALLED) ## all tests, with every network family at its real size (long)
	@$(PY) -m pytest -m "nightly or not nightly"

check: $(INSTALLED) ## ruff, mypy, import rules, quick tests
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) -m pytest -m "not slow and not nightly"

bench: $(INSTALLED) ## latency, memory and start-up side by side; ends with one line of JSON
	@.venv/bin/cordon bench

bench-export: $(INSTALLED) ## INT8 against FP32 for ResNet18 to 101, trained here on simulated and real scans (hours)
	@.venv/bin/cordon bench export

real-data: $(INSTALLED) ## the labelled real scans through the running line, 5-fold by scan (long)
	@.venv/bin/cordon bench real-data

checkpoints: $(INSTALLED) ## train the demo's networks again from seeds (long)
	@rm -rf build/welds
	@.venv/bin/cordon sim welds build/welds --typology all --good 450 --bad 450 --seed 1
	@$(PY) -m train.checkpoints --data build/welds --out checkpoints

lock: ## resolve the requirement files again
	@test -x .venv/bin/uv || PYTHON="$(PYTHON)" ./bootstrap.sh
	@for name in uv box all bindings-10.3 bindings-10.16 bindings-11.4; do .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header requirements/$$name.in -o requirements/$$name.txt; done

clean: ## remove what was built, keep .venv
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
