# Two commands: `make run` and `make test`. Each sets up what it needs; only Python 3.11+ is assumed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint docs bench soak look tools venv lock clean help

run: .venv/run.stamp  ## simulator and exporter together, on SQLite; Ctrl-C ends it
	@$(BIN)/job-exporter demo

test: venv  ## every test that is quick and needs no other program, within five minutes
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not soak and not servers and not chart and not long" $(ARGS)

lint: venv  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: venv  ## write the tables of the documents and of the Helm chart anew
	$(BIN)/python -m tests.docs.tables
	$(BIN)/python deploy/helm/generate.py

bench: venv  ## figures of cost and speed, as ratios measured in one run
	$(BIN)/python -m tests.benchmarks $(ARGS)

soak: venv  ## the long runs: kills, fuzzing (guided by coverage where there is a wheel for it)
	-$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-fuzz.lock
	$(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

look: venv tools  ## pictures of the dashboards, into .output/look (needs node, npm and chromium)
	$(BIN)/python -m tests.look $(ARGS)

tools:  ## Prometheus, Alertmanager and checkers, unpacked into .tools
	@.ci/tools

venv: .venv/dev.stamp  ## set up only

lock: export PATH := $(CURDIR)/$(BIN):$(PATH)
lock: venv  ## make the lock files anew from pyproject.toml
	uv pip compile -q --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11 --all-extras pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11 --group build -o requirements-build.lock
	uv pip compile -q --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11 --all-extras --group dev pyproject.toml -c requirements.lock -c requirements-build.lock -o requirements-dev.lock
	uv pip compile -q --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11 --group fuzz -o requirements-fuzz.lock

.venv/run.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12")'
	@echo "Installing the libraries into .venv; this takes about half a minute."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

clean:  ## remove what the targets made
	rm -rf .venv .tools .output .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'
