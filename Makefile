# Distributions build Python with profile-guided optimization; one compiled on the machine is often slower.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) python3.11)
BIN := .venv/bin
READY := .venv/ready
GATEWAYS := .venv/gateways

.PHONY: help run test test-fast soak faults bench bench-pages bench-large screenshots lint format migration docs lock

help: ## Print this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

run: $(READY) ## Run the demo with servers of its own; PORT=8001 chooses another port
	@DEMO=1 exec $(BIN)/python manage.py run

# Tests start some two hundred processes, which share what the first of them compiled.
test test-fast soak screenshots: export PYTHONDONTWRITEBYTECODE =

test: $(READY) $(GATEWAYS) ## Run the tests on all cores; T=tests/consent runs these only
	$(BIN)/python -m pytest $(or $(T),-n auto --dist loadfile --no-loadscope-reorder)

test-fast: $(READY) ## Run the tests that need no browser, server process or committed rows, for use while working
	$(BIN)/python -m pytest -m 'not soak and not slow' -n auto --dist loadfile --no-loadscope-reorder $(T)

soak: $(READY) $(GATEWAYS) ## Run the long tests: races, killed processes, a year of refreshes, a million ledger entries
	$(BIN)/python -m pytest -m soak $(T)

faults: $(READY) ## Kill and stop real processes under load, into var/faults.json; F="--only 'beat killed'" inflicts one fault
	$(BIN)/python -W ignore -m tests.faults $(F)

bench: $(READY) ## Measure the token path beside its peers, into var/bench.json; needs wrk and 25 minutes
	$(BIN)/python -m tests.load

bench-pages: $(READY) ## Measure pages with a million rows, and audit pages with Lighthouse, into var/bench.json; needs 10 GB
	$(BIN)/python -m tests.load.pages
	$(BIN)/python -m tests.load.audit

bench-large: $(READY) ## Add how the token path does on 5,000,000 tokens; needs 20 GB of disk
	$(BIN)/python -m tests.load large

screenshots: $(READY) ## Walk each journey at two widths in two themes, into var/screenshots/index.html; J=staff walks one
	$(BIN)/python -m pytest -m soak tests/browser/test_walk.py $(and $(J),-k $(J))

lint: $(READY) ## Check style and types: ruff, mypy, and djLint for templates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --check
	$(BIN)/djlint templates --lint
	$(BIN)/mypy

format: $(READY) ## Format code and templates, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint templates --reformat --quiet --warn

migration: $(READY) ## Write the migration that changed models need; APP=consent NAME=why_it_is_there, EMPTY=1 for SQL alone
	$(BIN)/python manage.py makemigrations $(if $(EMPTY),--empty) $(if $(NAME),--name $(NAME)) $(APP)
	$(BIN)/ruff format --quiet .

docs: $(READY) ## Write the generated parts of docs/: the picture of imports, the gateways' configurations
	$(BIN)/python -m docs.draw_imports
	$(BIN)/python docs/gateways/generate.py

lock: $(READY) ## Lock the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:gateways --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-gateways.txt
	$(BIN)/python -m tests.load.npm

$(READY): requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3.11 -m venv --clear .venv || python3 -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $(READY)

$(GATEWAYS): requirements-gateways.txt $(READY)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-gateways.txt
	@touch $(GATEWAYS)
