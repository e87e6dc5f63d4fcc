# Everything a person runs. `make demo` and `make test` need Python 3.11 and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
BIN := .venv/bin
VIDEO ?= tests/assets/sample.mp4
OUT ?= out

# a home that cannot be written to must not stop the installation
ifneq ($(shell mkdir -p "$${XDG_CACHE_HOME:-$$HOME/.cache}" 2>/dev/null && test -w "$${XDG_CACHE_HOME:-$$HOME/.cache}" && echo yes),yes)
export UV_CACHE_DIR := $(CURDIR)/.venv/cache
export MPLCONFIGDIR := $(CURDIR)/.venv/matplotlib
endif

.PHONY: help setup demo serve test lint audit bench lock test-faults test-load test-hostile test-page test-deploy clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready ## make the environment in .venv

# the lock is complete and hashed: nothing is resolved, nothing unknown is installed
.venv/ready: requirements.lock pyproject.toml
	@python=""; \
	for candidate in "$${PYTHON:-}" python3.11 python3 python; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python 3.11 or newer with its venv module is needed (set PYTHON=path)" >&2; exit 1; fi; \
	[ -x $(BIN)/python ] || "$$python" -m venv .venv
	@$(BIN)/uv --version 2>/dev/null | grep -qF "uv $(UV_VERSION)" || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	@touch $@

demo: setup ## analyse VIDEO (default: the bundled sample) through the whole service; writes OUT/demo.json and demo.png
	@$(BIN)/python -m app.demo "$(VIDEO)" --out "$(OUT)"

serve: setup ## keep the service running on port 8000 (Ctrl-C stops it)
	@$(BIN)/emoclip serve

test: lint ## lint, types, import contracts, tests
	$(BIN)/python -m pytest

lint: setup ## lint, types and import contracts alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: setup ## known vulnerabilities of what is locked (asks the OSV service; exit 2 where it does not answer)
	@$(BIN)/python .ci/audit.py

bench: setup ## speed of every stage on VIDEO; writes OUT/bench.json
	@mkdir -p "$(OUT)"
	$(BIN)/python -m tests.bench.pipeline "$(VIDEO)" --json "$(OUT)/bench.json"

test-faults: setup ## kill every part at random moments; EMOCLIP_FAULT_RUNS of each kind (50), EMOCLIP_FAULT_SEED
	$(BIN)/python -m tests.bench.faults --json tests/bench/results/faults.json
	$(BIN)/python -m tests.bench.upload_faults --runs "$${EMOCLIP_FAULT_RUNS:-50}" --seed "$${EMOCLIP_FAULT_SEED:-1}" --json tests/bench/results/upload_faults.json

test-load: setup ## the service under load, and 300 jobs one after the other; writes tests/bench/results/{load,soak}.json
	$(BIN)/python -m tests.bench.load --json tests/bench/results/load.json
	$(BIN)/python -m tests.bench.soak --json tests/bench/results/soak.json

test-hostile: setup ## all hostile media through the service, and thousands of mutated videos and made-up requests
	EMOCLIP_ALL_MEDIA=1 EMOCLIP_MUTATIONS="$${EMOCLIP_MUTATIONS:-2000}" EMOCLIP_SCHEMA_EXAMPLES=200 $(BIN)/python -m pytest \
	    tests/end_to_end/test_hostile_media.py tests/worker/test_hostile_mutations.py tests/app/test_schema.py \
	    --timeout 7200 --hypothesis-show-statistics

test-page: setup ## the page in a real Chromium (needs one: apt-get install chromium); `make test` has these tests, too
	@$(BIN)/python -m tests.chromium
	$(BIN)/python -m pytest tests/page -rs

lock: setup ## resolve pyproject.toml into requirements.lock; versions already locked stay
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header -o requirements.lock

test-deploy: setup ## build the images, run the stack, send the sample through it (needs Docker)
	$(BIN)/python -m pytest tests/deploy --timeout 900 -o timeout_func_only=true

clean: ## remove what runs and tools leave behind, the environment included
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
