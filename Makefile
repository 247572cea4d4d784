# Everything starts here: `make` alone says what there is. Each target sets up .venv by itself; the second time
# that costs nothing, until pyproject.toml changes. `make PYTHON=python3.12 setup` chooses the interpreter.

SHELL = /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench soak accept kill-tests crash-matrix clean

VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.ready
PYTHON = python3.13 python3.12 python3.11 python3
SOAK_ROUNDS = 5

# A candidate counts only if it runs (a version manager's shim may exist and not work), is a version we support
# and can make a virtual environment with pip in it.
SUITABLE = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

# $(call part,NAME,COMMAND): run one part of a target, and say how long it took.
part = @began=$$(date +%s); echo "== $(1)"; $(2) && echo "== $(1): $$(($$(date +%s) - began)) s"

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## .venv with Hands and its tools

$(STAMP): pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c '$(SUITABLE)' 2>/dev/null; then \
	    chosen=; \
	    for candidate in $(PYTHON); do \
	        if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$chosen" ]; then \
	        echo "Hands needs Python 3.11, 3.12 or 3.13 with venv and pip; none of these is one that works:" >&2; \
	        echo "    $(PYTHON)" >&2; \
	        echo "Install one, or name it: make PYTHON=/path/to/python3.12 setup" >&2; \
	        exit 1; \
	    fi; \
	    echo "== setting up $(VENV) with $$("$$chosen" --version) (the first time takes a minute or two)"; \
	    rm -rf $(VENV); \
	    "$$chosen" -m venv $(VENV); \
	fi; \
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade pip; \
	$(BIN)/python -m pip install --quiet --editable '.[dev]'; \
	touch $@; \
	echo "== $(VENV) is ready: $$($(BIN)/python --version)"

demo: $(STAMP) ## the whole product on the embedded exchange, in under a minute
	@$(BIN)/hands demo

lint: $(STAMP) ## ruff and mypy --strict
	$(call part,ruff check,$(BIN)/ruff check .)
	$(call part,ruff format,$(BIN)/ruff format --check .)
	$(call part,mypy,$(BIN)/mypy --strict)

test: lint ## lint, then every test on two cores; those that start a daemon by themselves
	$(call part,tests on two cores,$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not e2e and not accept')
	$(call part,tests with processes,$(BIN)/python -m pytest -q -n 2 --dist loadfile -m e2e)

bench: $(STAMP) ## latency and throughput against a floor and against peers
	@$(BIN)/python -m bench

soak: $(STAMP) ## everything for much longer: properties, end-to-end rounds (SOAK_ROUNDS=5), storms, a day, an hour
	$(call part,properties,HANDS_SOAK=1 $(BIN)/python -m pytest -q -m 'not e2e and not accept')
	@set -e; round=1; while [ $$round -le $(SOAK_ROUNDS) ]; do \
	    echo "== end to end, round $$round of $(SOAK_ROUNDS)"; \
	    HANDS_SOAK=1 $(BIN)/python -m pytest -q -m e2e; \
	    round=$$((round + 1)); \
	done
	$(call part,two thousand storms,$(BIN)/python -m tests.storms --seeds 0-1999)
	$(call part,24 hours on a virtual clock,$(BIN)/python -m tests.storms --hours 24)
	$(call part,an hour on the wall clock,$(BIN)/python -m tests.crash.hour)

crash-matrix: $(STAMP) ## crash after every durable and every network step: in memory, then real processes by SIGKILL
	$(call part,crashes in memory,$(BIN)/python -m tests.crash)
	$(call part,processes killed,$(BIN)/python -m tests.crash.real)

kill-tests: $(STAMP) ## take out every check, limit and latch, one at a time: a named test must fail for each
	@$(BIN)/python -m tests.kill

accept: $(STAMP) ## build the wheel and use it from a fresh environment; then pages in a real browser (Chromium)
	@set -e; room=$$(mktemp -d); trap 'rm -rf "$$room"' EXIT; trap 'exit 130' INT TERM; \
	python=$$(pwd)/$(BIN)/python; \
	echo "== building the wheel"; \
	"$$python" -m pip wheel --quiet --no-deps --wheel-dir "$$room/wheel" .; \
	echo "== installing it into a fresh environment"; \
	"$$python" -m venv "$$room/venv"; \
	cd "$$room"; \
	venv/bin/python -m pip --disable-pip-version-check install --quiet wheel/*.whl; \
	echo "== using it from outside the tree"; \
	venv/bin/hands --version; \
	venv/bin/python -m hands --version >/dev/null; \
	venv/bin/hands schema intent | venv/bin/python -c 'import json, sys; json.load(sys.stdin)'; \
	venv/bin/python -m pip --disable-pip-version-check check
	@if [ -z "$$HANDS_NO_BROWSER" ] && ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null \
	    && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "== installing chromium"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	fi
	$(call part,pages in a browser,$(BIN)/python -m pytest -q -m accept tests/accept)
	@echo "== accepted"

clean: ## what `make` and the tools left behind; never var/ or intents/, which are the owner's business
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks *.egg-info
	@find hands brain_bridge bench tests -type d -name __pycache__ -prune -exec rm -rf {} +
