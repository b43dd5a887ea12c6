# Needs Python 3.11 or newer and make; everything else is installed into .venv from hash-locked wheels.
SHELL := /bin/sh
BIN := .venv/bin
STAMP := .venv/installed
COMPILE := pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	--custom-compile-command "make lock"
IMAGE := $(foreach extra,mqtt sparkplug modbus opcua market units redis webhook parquet disk,--extra $(extra))
# Most tests wait for real servers: three side by side keep two cores busy, four make them late. In the files' order,
# which puts the short ones last.
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# Tests and demonstration start many Pythons, and each would compile every module anew.
ifdef PYTHONDONTWRITEBYTECODE
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/bytecode
endif
PYTHON ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test quickfix lint faults simulate bench bench-engine bench-connectors docs contracts lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

install: $(STAMP)  ## install everything into .venv (once; at once when it is there)

demo: $(STAMP)  ## run the whole system on real servers; ARGS="--for 60 --plain" for a minute without a screen
	@$(BIN)/gridtape demo $(ARGS)

test: $(STAMP)  ## run every test, the integration tests on real servers included, and show coverage
	@$(BIN)/pytest $(SIDE_BY_SIDE) --cov --cov-report=term $(ARGS)

quickfix: $(STAMP)  ## compile the other side of the FIX tests, which are skipped without (7 minutes; needs a C++ compiler)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/quickfix.txt

lint: $(STAMP)  ## check style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

faults: $(STAMP)  ## break broker, network and workers for 10 minutes, then prove exactly once; ARGS="--seed 7 --seconds 60"
	@$(BIN)/python -m tests.faults $(ARGS)

simulate: $(STAMP)  ## run the engine through 10,000 seeded schedules of a simulated broker; ARGS="--seed 7" shows one
	@$(BIN)/python -m tests.simulator $(ARGS)

bench: $(STAMP)  ## measure throughput, latency, restore and memory of the engine on the local Kafka
	@$(BIN)/python -m tests.performance.bench_engine --only gridtape --ticks 2000000 $(ARGS)

bench-engine: $(STAMP)  ## the same beside Kafka Streams, Quix Streams and Faust (15 minutes); writes docs/benchmarks.md
	@$(BIN)/python -m tests.performance.bench_engine --out docs/benchmarks $(ARGS)

bench-connectors: $(STAMP)  ## measure what each connector takes in; ARGS="--smoke mqtt", "--soak 600" for memory, "--away 1800"
	@$(BIN)/python -m tests.performance.bench_connectors $(ARGS)

docs: $(STAMP)  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "open site/index.html"

contracts: $(STAMP)  ## write JSON Schemas and the AsyncAPI document anew from the records
	@$(BIN)/gridtape contracts

lock: | $(BIN)/uv  ## resolve the dependencies of pyproject.toml anew into the three hash locks
	@$(BIN)/uv $(COMPILE) pyproject.toml --upgrade --all-extras --group dev -o requirements.txt
	@$(BIN)/uv $(COMPILE) pyproject.toml $(IMAGE) -c requirements.txt -o deploy/requirements.txt
	@echo hatchling | $(BIN)/uv $(COMPILE) - -c requirements.txt -o deploy/build.txt

clean:  ## remove .venv and all that was built; downloads and data of the local services stay
	rm -rf .venv site dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/uv:
	@$(MAKE) install

$(STAMP): requirements.txt pyproject.toml deploy/install.sh
	@PYTHON="$(PYTHON)" sh deploy/install.sh
