# Verbs: demo, demo-down, test, check, lint, fix, e2e, soak, chaos, bench, images, cluster-up, cluster-down. `make help` says more.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Runs a command with the cluster up and its tools on the PATH; takes the cluster down again if it brought it up.
WITH_CLUSTER := $(PYTHON) -m cluster run --
# The same without the cluster: tools, and the programs that tests start servers of their own from.
WITH_TOOLS := $(PYTHON) -m cluster run --no-cluster --
# Where this is set, pytest would rewrite every test module's assertions anew in each of its processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo demo-down
demo: $(VENV)/ready ## cluster, images, MinIO, chart, and a sweep of four iterations from file to verified row
	$(PYTHON) -m cluster up
	$(WITH_CLUSTER) $(BIN)/python -m cluster.demo

demo-down: ## undo the demo: the release, MinIO and the cluster
	$(PYTHON) -m cluster down

ON_EVERY_CORE := $(BIN)/pytest -q --numprocesses=auto
UNIT_TESTS := $(ON_EVERY_CORE) --dist=worksteal tests/unit
# Those of a file stay in one process, because they share servers; by their names, which has dear files beside cheap ones.
SERVER_TESTS := $(ON_EVERY_CORE) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder -m "not cluster" \
	--ignore=tests/unit --ignore=tests/simulation

.PHONY: test check lint e2e fix
test: $(VENV)/ready ## all tests: unit, contract, chart, end to end on the cluster
	$(UNIT_TESTS) tests/simulation
	$(WITH_TOOLS) $(SERVER_TESTS)
	$(WITH_CLUSTER) $(BIN)/pytest -m cluster

check: lint ## the lints, and unit tests with fewer examples: no cluster
	$(UNIT_TESTS) --hypothesis-profile=quick

lint: $(VENV)/ready ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: soak
soak: $(VENV)/ready ## faults at random for a long time: minutes to hours, no cluster
	PYTHONPATH=tests:. $(BIN)/python -m support.simulation --seeds 100000
	PYTHONPATH=tests:. $(BIN)/python -m support.soak --kills 500
	PYTHONPATH=tests:. $(BIN)/python -m support.many_files --files 100000
	$(BIN)/pytest -q --times 50 --timeout 7200 tests/contract/test_api_as_documented.py

.PHONY: chaos
chaos: $(VENV)/ready ## whatever carries fifty Experiments is killed by chance for ten minutes; CHAOS="--seed N" repeats
	$(WITH_CLUSTER) env PYTHONPATH=tests:. $(BIN)/python -m support.chaos $(CHAOS)

e2e: $(VENV)/ready ## the stories on the cluster only
	$(WITH_CLUSTER) $(BIN)/pytest tests/e2e

fix: $(VENV)/ready ## format and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench bench-quick
bench: $(VENV)/ready $(VENV)-bench/ready ## what uploading costs, beside the peers; writes the tables of docs/benchmarks.md
	PINNACE_MINIO="$$($(PYTHON) -m cluster minio-binary)" $(BIN)/python -m bench

bench-quick: $(VENV)/ready $(VENV)-bench/ready ## the same with smaller sets in some minutes; shows the tables only
	PINNACE_MINIO="$$($(PYTHON) -m cluster minio-binary)" $(BIN)/python -m bench --quick

.PHONY: bench-api bench-api-quick
bench-api: $(VENV)/ready $(VENV)-bench/ready ## what the API takes, beside MLflow's server; writes its tables of docs/benchmarks.md
	PINNACE_POSTGRES="$$($(PYTHON) -m cluster postgres-binary)" PYTHONPATH=tests $(BIN)/python -m bench api

bench-api-quick: $(VENV)/ready $(VENV)-bench/ready ## the same with less in some minutes; shows the tables only
	PINNACE_POSTGRES="$$($(PYTHON) -m cluster postgres-binary)" PYTHONPATH=tests $(BIN)/python -m bench api --quick

.PHONY: bench-operator bench-operator-quick
bench-operator: $(VENV)/ready ## what 100 to 2,000 Experiments cost the operator on a real API server; writes its table of docs/benchmarks.md
	PINNACE_KUBE="$$($(PYTHON) -m cluster kube-binary)" PYTHONPATH=tests $(BIN)/python -m bench operator

bench-operator-quick: $(VENV)/ready ## the same with 100 and 500 in under three minutes; shows the table only
	PINNACE_KUBE="$$($(PYTHON) -m cluster kube-binary)" PYTHONPATH=tests $(BIN)/python -m bench operator --quick

.PHONY: cluster-up cluster-down images
cluster-up: ## bring the kind cluster up
	$(PYTHON) -m cluster up

cluster-down: ## take it down; leaves nothing behind
	$(PYTHON) -m cluster down

images: $(VENV)/ready ## build the images and load them into the cluster
	$(PYTHON) -m cluster images

.PHONY: compose-images
compose-images: $(VENV)/ready ## build the images that compose.yaml runs; no cluster
	$(PYTHON) -m cluster images --build-only api minio

.PHONY: generate lock clean
generate: $(VENV)/ready ## write the files that are derived from others: chart's CRD, OpenAPI document, reference
	$(BIN)/python charts/generate.py
	$(BIN)/python docs/generate.py
	$(BIN)/python -m pinnace_api openapi > docs/openapi.json

lock: ## resolve the dependencies anew (needs uv)
	locks/lock.sh

clean: ## remove the virtual environment and caches of this folder
	rm -rf $(VENV) $(VENV)-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

$(VENV)/ready: locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "installing python3-venv"; apt-get update -qq && apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement locks/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The peers' own environment: nothing of theirs (awscrt, for one) gets into ours.
$(VENV)-bench/ready: locks/bench.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --require-hashes --requirement locks/bench.txt
	@touch $@
