# The same targets for people, for .ci/run and for GitHub Actions. `make help` lists them.
PYTHON ?= python3
PHOTO ?=
N ?= 300
SEED ?= 1
PARTS ?=
PARAMETERS ?=
OPTIONS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SAM := PATH="$(CURDIR)/$(BIN):$$PATH" SAM_CLI_TELEMETRY=0 $(BIN)/sam
# What the local stack deploys: the same build, with the layer for this machine and its Python.
LOCAL_BUILD := .aws-sam/local/template.yaml
SOURCES := template.yaml $(shell find functions layers statemachine -type f -not -name '*.pyc')

.DEFAULT_GOAL := help

# `make run FOTO=cat.jpg` and `make run cat.jpg` would cut out the sample without a word.
KNOWN := PYTHON PHOTO N SEED PARTS PARAMETERS OPTIONS LAYER_WHEELS
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN) VENV SAM PYTEST MAKEFLAGS MAKEOVERRIDES MFLAGS GNUMAKEFLAGS -*-command-variables-*-,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error unknown variable $(UNKNOWN); there are $(KNOWN))
endif
ifneq ($(and $(filter run,$(MAKECMDGOALS)),$(filter-out run,$(MAKECMDGOALS))),)
$(error name the photos as in: make run PHOTO="$(filter-out run,$(MAKECMDGOALS))")
endif
.PHONY: help setup run up test retest coverage upstream chaos lint audit format build build-local bench schemas commands day lock clean deploy

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

setup: $(INSTALLED) ## install everything into .venv (the other targets do it by themselves)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Cutout needs Python 3.11 or newer; name one with: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "python3 has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV): once, a minute or two"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(LOCAL_BUILD) ## cut out PHOTO (files and folders; a sample if left out), PNGs go to out/
	@$(BIN)/cutout run $(PARAMETERS:%=--parameter %) $(OPTIONS) $(PHOTO)

up: $(LOCAL_BUILD) ## keep the local stack running until Ctrl-C
	@$(BIN)/cutout up $(PARAMETERS:%=--parameter %) $(OPTIONS) || [ $$? -eq 130 ] # Ctrl-C is how it ends

# More workers than cores, for the tests of the whole stack mostly wait; they begin (`conftest.py`).
# Hundreds of processes start, and would each compile the sources anew.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder

test: $(LOCAL_BUILD) ## all tests
	$(PYTEST)

retest: $(LOCAL_BUILD) ## once more what failed the last time, one after the other
	$(BIN)/pytest --last-failed --last-failed-no-failures none

upstream: $(LOCAL_BUILD) ## ask whether MiniStack still needs each patch of ours
	$(BIN)/pytest -n 4 -m upstream

coverage: $(LOCAL_BUILD) ## all tests, with coverage, which takes longer
	$(PYTEST) --cov --cov-report=term:skip-covered

chaos: $(LOCAL_BUILD) ## break everything at once and audit the result; N=300 uploads, SEED=1
	@$(BIN)/python -m tests.chaos --uploads $(N) --seed $(SEED)

mutants: $(INSTALLED) ## mistakes put into code and template, one by one: do tests notice? PARTS="submit yaml"
	@$(BIN)/python -m tests.mutants $(PARTS)

lint: $(INSTALLED) ## ruff, mypy, import-linter, cfn-lint, sam validate
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint
	$(BIN)/sam validate --lint --region us-east-1

AUDITED := .venv-audit/.installed

$(AUDITED): .ci/audit.lock
	@$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/audit.lock
	@touch $@

audit: $(AUDITED) ## checkov and parliament on the template, from an environment of their own
	.venv-audit/bin/checkov --config-file .ci/checkov.yaml --file template.yaml
	.venv-audit/bin/python .ci/policies.py template.yaml

format: $(INSTALLED) ## let ruff format and mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: $(INSTALLED) ## sam build for AWS, without Docker
	$(SAM) build

deploy: build ## ask what matters, deploy to AWS, wait until uploads are seen, look whether all is well
	@$(BIN)/cutout deploy $(PARAMETERS:%=--parameter %) $(OPTIONS)

build-local: $(LOCAL_BUILD) ## sam build for this machine (the other targets do it by themselves)

$(LOCAL_BUILD): $(INSTALLED) $(SOURCES)
	@echo "sam build for this machine: once, and after each change of what it deploys"
	@LAYER_WHEELS= $(SAM) build --build-dir .aws-sam/local --cache-dir .aws-sam/local-cache >.aws-sam.log 2>&1 || \
		{ cat .aws-sam.log >&2; exit 1; }
	@rm .aws-sam.log
	@cd .aws-sam/local && for layer in *Layer; do \
		(cd $$layer && $(CURDIR)/$(BIN)/python -m zipfile -c ../$$layer.zip *); done
	@touch $@

bench: $(LOCAL_BUILD) ## measurements: memory, speed, cut-out quality
	$(BIN)/python -m benchmarks

schemas: $(INSTALLED) ## write events/schemas from the models of the events
	$(BIN)/python -m tests.support.schemas

commands: $(INSTALLED) ## write docs/commands.md from what the commands say of themselves
	$(BIN)/python -m tests.support.command_reference

day: $(LOCAL_BUILD) ## write docs/day.md: a day of operating the local stack
	$(BIN)/python -m tests.e2e.day

lock: $(INSTALLED) ## pin the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--extra local --extra dev --group model --no-emit-index-url --custom-compile-command "make lock" \
		--upgrade pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.13 --python-platform aarch64-manylinux2014 \
		--generate-hashes --constraint requirements.lock --no-emit-index-url \
		--custom-compile-command "make lock" pyproject.toml --output-file layers/cutout/requirements.txt
	$(BIN)/uv pip compile --quiet --python-version 3.13 --python-platform aarch64-manylinux_2_28 \
		--generate-hashes --constraint requirements.lock --no-emit-index-url \
		--custom-compile-command "make lock" layers/convert/requirements.in \
		--output-file layers/convert/requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --custom-compile-command "make lock" .ci/audit.in --output-file .ci/audit.lock

clean: ## remove everything that was made here, the installed packages too, but for the PNGs in out/
	rm -rf $(VENV) .venv-audit .aws-sam* .cutout .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
