# The commands of this project. Everything happens in .venv; nothing is installed elsewhere but
# the Debian packages that the tests need (see tools/test-packages).
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 11
SOAK ?= build/soak.jsonl

.PHONY: run setup setup-dev packages check test nightly crash chaos opa bench bench-peers bench-fleet bench-fleet-peers soak eval-detection train-injection lock docs docs-site clean

run: setup ## start the gate with the demonstration, and stay up
	$(BIN)/portcullis demo

setup: .venv/.run ## create .venv with pinned, hashed dependencies

.venv/.run: requirements/run.txt pyproject.toml
	@echo "Installing into .venv, about a minute"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

setup-dev: .venv/.dev

.venv/.dev: requirements/dev.txt .venv/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

packages: ## Debian and npm packages for the tests
	tools/test-packages

check: setup-dev docs-site ## format, lint, types, layers, dependencies, dead code, generated docs, the docs' links
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry src
	$(BIN)/vulture
	$(BIN)/python tools/docs.py --check
	$(BIN)/python tools/proto.py --check

test: setup-dev packages .venv-docs/.done .venv-manifests/.done .venv-opa/.done ## everything, on free loopback ports
	tools/run-tests

nightly: packages .venv-opa/.done crash ## slow: what `make test` does a little of, at length; see docs/testing.md
	$(MAKE) chaos SEED=$$(date +%Y%m%d)
	$(MAKE) soak SOAK=build/soak-$$(date +%Y%m%d).jsonl
	PORTCULLIS_NIGHTLY=1 $(BIN)/pytest --numprocesses 2 --dist worksteal --timeout 3600 \
		-o faulthandler_timeout=0 -m nightly

crash: setup-dev ## slow: 500 random kill -9 under load, of logs and of gates, with and without witnesses
	PORTCULLIS_LOG_KILLS=440 PORTCULLIS_GATE_KILLS=60 $(BIN)/pytest --numprocesses 2 --dist worksteal \
		-o faulthandler_timeout=0 \
		tests/e2e/audit/test_kill.py tests/e2e/audit/test_crash.py

chaos: setup-dev packages ## slow: 200 rounds of faults in a fleet under load, resumable; see docs/chaos.md
	PYTHONPATH=tests $(BIN)/python -m chaos.storm --seed $(SEED)

opa: setup-dev .venv-opa/.done ## hold 10 000 decisions of the compiled policy against the real OPA
	PORTCULLIS_NIGHTLY=1 $(BIN)/pytest --timeout 1800 -o faulthandler_timeout=0 \
		tests/property/policy/test_opa.py

eval-detection: setup-dev ## measure detection over DATA=folder (and EXAMPLES=folder) and write docs/detection.md
	$(BIN)/python tools/eval_detection.py --data "$(DATA)" $(if $(EXAMPLES),--examples "$(EXAMPLES)")

train-injection: setup-dev ## train the injection model over DATA=folder and EXAMPLES=folder
	$(BIN)/python tools/train-injection "$(DATA)/detection" --examples "$(EXAMPLES)"

bench: setup ## measure the gate on this machine
	$(BIN)/portcullis bench

bench-peers: setup .venv-peers/.done ## measure the firewall beside two others, in an environment of their own
	$(BIN)/portcullis bench firewall --peers .venv-peers/bin/python

.venv-peers/.done: requirements/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

bench-fleet: setup ## slow: an hour in cells that are kept in build/fleet.jsonl, beside two others if they are there
	mkdir -p build
	$(BIN)/portcullis bench fleet --seconds 150 --rounds 3 --growth 800 --cells build/fleet.jsonl \
		$(if $(wildcard .venv-peers-litellm/.done),--litellm .venv-peers-litellm/bin/python) \
		$(if $(wildcard .venv-peers-contextforge/.done),--contextforge .venv-peers-contextforge/bin/python)

bench-fleet-peers: .venv-peers-litellm/.done .venv-peers-contextforge/.done ## two gateways of others, each in an environment of its own

.venv-peers-litellm/.done .venv-peers-contextforge/.done: .venv-%/.done: requirements/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

soak: setup ## slow: an hour of a fleet under load whose processes are killed, kept in SOAK
	mkdir -p build
	$(BIN)/portcullis bench soak --cells $(SOAK)

lock: setup-dev ## make the locks anew, without any address in them
	tools/lock

docs: setup-dev ## generate what docs/ says about the code: reference, error codes, threat model
	$(BIN)/python tools/docs.py

docs-site: .venv-docs/.done ## build/docs: docs/ as pages, in an environment of its own; dead links fail
	.venv-docs/bin/sphinx-build -W --keep-going -n -q -b html docs build/docs
	@echo "Open build/docs/index.html"

.venv-docs/.done: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.venv-manifests/.done: requirements/manifests.txt # what judges deploy/
	$(PYTHON) -m venv .venv-manifests
	.venv-manifests/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.venv-opa/.done: requirements/opa.txt # the real OPA, beside which policies are tested
	$(PYTHON) -m venv .venv-opa
	.venv-opa/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--ignore-requires-python -r $<
	touch $@

clean: ## remove what make made; keys and logs of your own gates stay
	rm -rf .venv .venv-peers .venv-peers-litellm .venv-peers-contextforge .venv-docs .venv-manifests .venv-opa build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		src/*.egg-info tests/node/node_modules portcullis-state/demo
