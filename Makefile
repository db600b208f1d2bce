PORT ?= 8000
DATA_DIR ?= .data
EXAMPLES ?= 3000
# As they were given: `$2` in a message is no variable of make's.
override API_KEY := $(value API_KEY)
override ASK := $(value ASK)
export API_KEY ASK FAST KEEP SEED MINUTES LEASE_SECONDS

SHELL = /bin/bash
SOURCES = app workers tests deploy
FITS = import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for each in python3.12 python3.11 python3; do $$each -c '$(FITS)' 2>/dev/null && echo $$each && break; done)
NEWS = ^ *Downloading .*\([0-9]{2,}(\.[0-9]+)? MB\)|^Installing collected packages

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/ready  ## the main job on free ports: train, pause, kill, recover, try; ASK='a message' FAST=1 KEEP=1
	@.venv/bin/python -m app.embedded.demo

up: .venv/ready  ## the service in the foreground, until Ctrl-C; PORT=8000 API_KEY=… DATA_DIR=.data
	@.venv/bin/python -m app.embedded up --port '$(PORT)' --data-dir '$(DATA_DIR)'

test: .venv/ready  ## every test, on servers of their own unless DATABASE_URL and REDIS_URL are set
	@.venv/bin/python -m pytest

check: .venv/ready  ## format, lint, types, import contracts
	@.venv/bin/ruff format --check $(SOURCES)
	@.venv/bin/ruff check $(SOURCES)
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: .venv/ready  ## the figures of the README, measured here; PART=many, latency, fairness or dry_runs alone
	@.venv/bin/python -m tests.bench $(PART)

mutants: .venv/ready  ## take out one guard of the protocol at a time, and see which test fails
	@.venv/bin/python -m tests.mutants

chaos: .venv/ready  ## walks over the protocol, then faults under load, and a verdict; EXAMPLES=3000 SEED=… MINUTES=20 LEASE_SECONDS=5
	@HYPOTHESIS_EXAMPLES='$(EXAMPLES)' HAMMER_JOBS=200 .venv/bin/python -m pytest -q tests/store/test_protocol_walk.py tests/store/test_hammer.py
	@.venv/bin/python -m tests.chaos

conformance: .venv/ready  ## the official clients' own tests against the application
	@.venv/bin/python -m tests.conformance

matrix: .venv/ready  ## deploy/COMPATIBILITY.md anew, from what the application does
	@REGENERATE=1 .venv/bin/python -m pytest -q tests/compatibility

.venv/ready: pyproject.toml
	@test -n '$(PYTHON)' || { echo 'Tuneyard needs Python 3.11 or 3.12 with venv (Debian: apt install python3-venv)'; exit 1; }
	@echo 'Setting up .venv with $(PYTHON); the first time this takes minutes'
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@set -o pipefail; .venv/bin/python -m pip --disable-pip-version-check install --progress-bar off \
	  torch==2.13.0 -e '.[trainer,embedded,dev]' | { grep --line-buffered -oE '$(NEWS)' || true; }
	@touch $@

.PHONY: help demo up test check bench mutants chaos conformance matrix
