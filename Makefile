# Every target makes the virtual environment it needs, from the locked and hashed list.
# A fresh machine needs Python 3.11 and make, nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Wheels only, but for two small pure Python packages that have none: nothing is compiled. The list is complete,
# so nothing is resolved here (--no-deps; see requirements/overrides.in).
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all:
DEMO_ARGS ?=
BENCH_ARGS ?=
E2E_ARGS ?=
PYTEST_ARGS ?=
# Most of a test with real processes is waiting: four at once fill two cores. A directory's files follow each other, so
# that what its tests share (an API server) is there for a short time only.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)
# Many environments set it, and each of hundreds of processes would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

WAN := asia-east2,australia-southeast1,europe-west3,me-west1,southamerica-east1,us-west1
CLUSTER := PYTHONPATH=tests/e2e $(BIN)/python -m cluster

.PHONY: help demo test test-long test-api check bench format lock clean cluster-build cluster-up cluster-down e2e e2e-wan

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found: install Python 3.11, or say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements/build.txt
	@$(INSTALL) --no-build-isolation --no-binary python-baseconv,varint -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# trio-typing, which libp2p brings, has stubs of a much older trio that would hide trio's own types.
	@rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs
	@touch $@

demo: $(READY) ## a three-region cluster on this machine: share files, measure, show the report
	@$(BIN)/python scripts/demo.py $(DEMO_ARGS)

test: $(READY) ## the tests (under 5 minutes)
	@$(PYTEST)

test-long: $(READY) ## the tests that take long, which `make test` leaves out (under 8 minutes)
	@$(PYTEST) -m slow

test-api: $(READY) ## all tests of the operator against a real API server, the long ones too (make cluster-build)
	@$(PYTEST) -m "" tests/operator_api

check: $(READY) ## lint, formatting, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports

bench: $(READY) ## the benchmarks: a table, and JSON in benchmarks/results/
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

cluster-build: $(READY) ## the test cluster's programs, once: 10 minutes, Go needed (docs/testing-on-a-cluster.md)
	@$(CLUSTER) build

cluster-up: $(READY) ## a Kubernetes cluster on this machine (needs root and PEERSDB_E2E=1)
	@$(CLUSTER) up

cluster-down: $(READY) ## stop it, and take all that it made from this machine
	@$(CLUSTER) down

e2e: $(READY) ## the tests on a real Kubernetes: KUBECONFIG's, or this machine's own (root, PEERSDB_E2E=1)
	@$(CLUSTER) may-test
	@$(BIN)/python -m pytest -n 0 tests/e2e $(E2E_ARGS)

e2e-wan: $(READY) ## the original's evaluation: 32 nodes in its six regions, as far apart as they are (15 minutes)
	@$(CLUSTER) may-test
	@PEERSDB_E2E_REGIONS=$(WAN) $(BIN)/python -m pytest -n 0 tests/e2e/test_e2e_wan.py $(E2E_ARGS)

format: $(READY) ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY) ## renew the locked lists in requirements/ (needs uv)
	@scripts/lock

clean: ## remove the virtual environment, caches and runs
	rm -rf $(VENV) demo-run .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
