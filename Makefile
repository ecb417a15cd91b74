# Everything starts from a fresh clone: each target sets up what it needs. Needs python3.11 with venv, and make.

PYTHON  ?= python3.11
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
WORKERS ?= 2
PYTEST  := $(BIN)/python -m pytest -q
SLOWLY   = $(PYTEST) -n $(WORKERS) --dist loadfile --reruns 1 -raR -o faulthandler_timeout=1500 -o faulthandler_exit_on_timeout=true

.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # each process would compile the same sources, and each worker rewrite the same tests
.PHONY: help setup demo test check quick statistics slow adapters chaos quick-others ends lock bench bench-gate bench-ramp bench-pairs soak mutate docs site sbom clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 10

setup: $(STAMP)  ## Make the virtual environment; after it, .venv/bin/sluice works.

# uv does in seconds what pip does in minutes; where uv cannot be had or cannot reach the index, pip does it.
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.lock names ..."
	@$(BIN)/python -m pip --disable-pip-version-check install -q uv || echo "no uv: pip does it alone, in some minutes"
	@$(BIN)/python -m uv pip install -q --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.lock \
	  || $(BIN)/python -m pip --disable-pip-version-check install -q --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m uv pip install -q --python $(BIN)/python --no-deps -e . \
	  || $(BIN)/python -m pip --disable-pip-version-check install -q --no-deps -e .
	@touch $(STAMP)
	@echo "ready: . $(BIN)/activate, then sluice up"

demo: setup  ## Watch a good candidate be promoted and a worse one be taken back, on real data. KEEP=1 leaves it running.
	$(BIN)/sluice demo --folder .demo $(if $(KEEP),--keep)

test: check quick statistics slow  ## Check and test what one waits for before a commit; CI also runs quick-others, adapters and chaos.

check: setup  ## Format, lint, types, import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: setup  ## Run the tests that need no server.
	$(PYTEST) -n $(WORKERS) -m "not slow" tests/unit tests/contract tests/acceptance

statistics: setup  ## Simulate what the gate promises, with seeds; soak does so for longer.
	$(PYTEST) -n $(WORKERS) tests/statistics

quick-others: setup  ## Run the quick tests on each other Python that is here; those that are not are named.
	$(BIN)/python .ci/others.py --workers $(WORKERS)

slow: setup  ## Run the tests with real servers; one that fails is run once more, and listed as RERUN.
	$(SLOWLY) -m "not chaos" tests/integration

adapters: setup  ## Run the contract tests of adapters that need a real server.
	$(SLOWLY) -m slow tests/contract

chaos: setup  ## Kill, hang, fill and cut off real servers under load.
	$(SLOWLY) -m chaos tests/integration

ends: setup  ## Install a wheel with the oldest and the newest releases allowed, and run the servers from it.
	$(BIN)/python -m tests.integration.whole_wheel $(PYTHON) lowest-direct
	$(BIN)/python -m tests.integration.whole_wheel "$$($(BIN)/python .ci/others.py --where 3.13)" highest

lock: setup  ## Resolve pyproject.toml anew into requirements.lock: hashes, no index, no URL.
	$(BIN)/python .ci/lock.py --upgrade

bench: setup  ## Measure everything that has a target, print one table; fails where one is missed on a quiet machine.
	$(BIN)/python -m benchmarks.gateway
	$(BIN)/python -m benchmarks.collector
	$(BIN)/python -m benchmarks.collector --rich
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.slopes
	$(BIN)/python -m benchmarks.predictor.run
	$(BIN)/python -m benchmarks.first_answer
	$(BIN)/python -m benchmarks.results

bench-gate: setup  ## Print the gate next to six other methods, simulated in the same run.
	$(BIN)/python -m benchmarks.gate

bench-ramp: setup  ## Rehearse a whole ramp: false stops, bad promotions, requests until a promotion.
	$(BIN)/python -m benchmarks.ramp

bench-pairs: setup  ## Print how many pairs of a shadow do what requests split in halves do.
	$(BIN)/python -m benchmarks.pairs

soak: setup  ## Run what takes minutes: long simulations of the gate, a thousand changes of traffic.
	$(PYTEST) -n $(WORKERS) -m soak tests

mutate: setup  ## Change flows/stats in a thousand ways and count what no fast test notices. FILES=... for some.
	$(BIN)/python .ci/mutate.py $(or $(FILES),$(wildcard flows/stats/*.py))

docs: setup  ## Write the generated pages of docs/.
	$(BIN)/python -m docs.generate

site: setup  ## Build the documentation site in build/site; a warning is an error. Takes its scripts from npm once.
	$(BIN)/python -m docs.vendored
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # --quiet would not count warnings
	@echo "built: build/site/index.html"

sbom: setup  ## Write build/sbom.cdx.json: everything that the lock installs, with hashes; the same bytes for the same lock.
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --output-reproducible --validate --pyproject pyproject.toml -o build/sbom.cdx.json requirements.lock

clean:  ## Remove the virtual environment and what tools left behind.
	rm -rf $(VENV) .others .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
