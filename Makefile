# Needs Python 3.13 and make; everything else is installed below .venv/ and .node/ from locked, hash-checked lists.

PYTHON := $(shell for python in python3.13 python3 python; do \
	if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; \
	then command -v $$python; break; fi; done)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A stamp is named after the content of the lock it stands for: what is installed is skipped, a changed lock is not.
fingerprint = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
VENV_STAMP := .venv/.installed-$(call fingerprint,requirements-dev.txt .python-version)
NODE_STAMP := .node/.installed-$(call fingerprint,local/azurite/package-lock.json)

.PHONY: help setup demo up test bench lint lock

help:
	@echo "make setup   install what is needed (the other targets do it, too)"
	@echo "make demo    show on a local stack what Keysteward does"
	@echo "make up      start a local stack that stays until Ctrl-C"
	@echo "make test    run all tests; ARGS='-k name' chooses some"
	@echo "make bench   measure, and compare with the targets"
	@echo "make lint    check style, types, layering and the checked-in OpenAPI document"
	@echo "make lock    resolve and lock the Python requirements; ARGS=--upgrade takes newer versions"

setup: $(VENV_STAMP) $(NODE_STAMP)

$(VENV_STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed: neither python3.13 nor python3 on the PATH is one." >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@rm -f .venv/.installed-*
	@touch $@

$(NODE_STAMP): $(VENV_STAMP)
	@mkdir -p .node
	@cp local/azurite/package.json local/azurite/package-lock.json .node/
	cd .node && ../$(BIN)/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@rm -f .node/.installed-*
	@touch $@

demo: setup
	$(BIN)/python -m local.demo $(ARGS)

up: setup
	$(BIN)/python -m local.stack up $(ARGS)

# Three processes on two cores: the tests over HTTP, which mostly wait, with two stacks, and all others.
# Each stack's stores and logs are searched for secrets in the end.
SCAN := tests/integration/test_zz_secrets.py
ON_STACK_1 := $(wildcard tests/integration/test_[a-k]*.py) $(SCAN)
ON_STACK_2 := $(filter-out $(ON_STACK_1),$(wildcard tests/integration/test_*.py)) tests/docs $(SCAN)
test: setup
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	@logs=$$(mktemp -d); \
	$(BIN)/python -m pytest $(ON_STACK_1) > $$logs/1 2>&1 & first=$$!; \
	$(BIN)/python -m pytest $(ON_STACK_2) > $$logs/2 2>&1 & second=$$!; \
	$(BIN)/python -m pytest --ignore=tests/integration --ignore=tests/docs; failed=$$?; \
	wait $$first || failed=1; wait $$second || failed=1; \
	echo; echo "On the stacks:"; cat $$logs/1 $$logs/2; rm -rf $$logs; exit $$failed
endif

bench: setup
	$(BIN)/python -m bench $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m functions.openapi --check

COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.13 \
	--no-emit-index-url --custom-compile-command "make lock"

lock: setup
	$(COMPILE) $(ARGS) requirements.in --output-file requirements.txt
	$(COMPILE) $(ARGS) requirements-dev.in --constraint requirements.txt --output-file requirements-dev.txt
