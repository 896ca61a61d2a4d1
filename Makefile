PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready
GATEWAYS := .venv/gateways

.PHONY: run test soak lint format docs lock

run: $(READY)
	@DEMO=1 exec $(BIN)/python manage.py run

test: $(READY) $(GATEWAYS)
	$(BIN)/python -m pytest -n auto --dist loadfile

soak: $(READY) $(GATEWAYS)
	$(BIN)/python -m pytest -m soak

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	DEMO=1 DATABASE_URL=postgres://none@127.0.0.1:1/none REDIS_URL=redis://127.0.0.1:1 $(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python docs/gateways/generate.py

lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:gateways --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-gateways.txt

$(READY): requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $(READY)

$(GATEWAYS): requirements-gateways.txt $(READY)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-gateways.txt
	@touch $(GATEWAYS)
