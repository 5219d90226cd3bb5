# The only commands to learn. ACCEL=cpu (default) or cuda; PYTHON=python3.12 for another interpreter.
PYTHON ?= python3
ACCEL ?= cpu
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed-$(ACCEL)
PEERS := .venv-peers
AUDIT := .venv-audit

# Every engine and every test process is new: they read what the first one compiled.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo check check-one check-other test test-all test-vllm test-faults lint docs benchmark bench-peers lock audit sbom clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(STAMP)  ## make .venv and install from the lock (ACCEL=cuda on a GPU host)

$(STAMP): requirements/$(ACCEL).lock requirements/install.sh pyproject.toml
	@bash requirements/install.sh $(PYTHON) $(VENV) $(ACCEL)
	@touch $@

demo: install  ## the main job on the embedded tiny family, offline, without a GPU
	HF_HUB_OFFLINE=1 $(BIN)/python -m search.run --lang te

lint: install  ## ruff, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# More processes than cores, as whole runs wait for Ray to start and to end; file by file in the
# order of collection; engines with one thread, as those with several stall beside a busy process.
PYTEST := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 \
	--dist loadfile --no-loadscope-reorder

check:  ## while working, a minute: lint, types, the quick tests that start no Ray, engine or server, few drawn examples
	@$(MAKE) --no-print-directory --jobs 2 --output-sync --keep-going check-one check-other

# Two processes that share nothing take less time than two that take turns; about half each.
QUICK := QUICK=1 HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q \
	-m "not long and not whole and not slow"
HALF := $(addprefix tests/search/,checkpoints config engine inspect merging results study)
check-one: lint
	$(QUICK) $(HALF)
check-other: install
	$(QUICK) tests $(HALF:%=--ignore=%)

test: lint  ## lint, then the tests; the slow whole runs come last
	$(PYTEST)

test-all: lint  ## the same with every architecture and a cluster of five nodes (minutes more)
	$(PYTEST) -m ""

test-vllm:  ## the engine's tests and the proof on another vLLM: make test-vllm VERSION=0.24.0
	@bash requirements/install.sh $(PYTHON) .venv-vllm $(if $(filter 0.32.0,$(VERSION)),cpu,cpu-$(VERSION))
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest -m "" tests/search/engine \
		tests/e2e/test_engine_contract.py tests/e2e/test_fresh_engine.py tests/e2e/test_rebuild.py \
		tests/e2e/test_generation.py tests/benchmarks/test_gpu.py

test-faults: install  ## the long fault run, twenty minutes: figures for benchmarks/RESULTS.md
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.faults --faults 60
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.faults --faults 12 --engine real

docs: install  ## write docs/config.md and docs/map.md from the docstrings
	$(BIN)/python -m search.config.reference > docs/config.md
	$(BIN)/python docs/make_map.py > docs/map.md

benchmark: install  ## measure; writes benchmarks/RESULTS.md
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.run_all

bench-peers: $(PEERS)/installed  ## replay the search's peers, an hour or more; writes benchmarks/search_quality/recorded.tsv
	$(PEERS)/bin/python -m benchmarks.search_quality.record

$(PEERS)/installed: requirements/peers.lock requirements/install.sh
	@bash requirements/install.sh $(PYTHON) $(PEERS) peers
	@touch $@

lock: install  ## compile requirements/*.in to locks without addresses
	bash requirements/lock.sh $(BIN)/uv

audit: $(AUDIT)/installed  ## hold the locks against the known advisories, where they can be reached
	@bash requirements/audit.sh $(AUDIT) cpu cuda

sbom: $(AUDIT)/installed  ## write sbom-cpu.json and sbom-cuda.json (CycloneDX): what a lock installs, with hashes
	@for lock in cpu cuda; do $(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible --validate -o sbom-$$lock.json requirements/$$lock.lock; done

$(AUDIT)/installed: requirements/audit.lock requirements/install.sh
	@bash requirements/install.sh $(PYTHON) $(AUDIT) audit
	@touch $@

clean:  ## remove the environment and caches, keep runs/
	rm -rf $(VENV) $(PEERS) $(AUDIT) .venv-vllm .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info sbom-*.json
