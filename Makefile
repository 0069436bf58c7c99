PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
ARGS ?=

RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

GRAPHIQL := app/api/graphiql
GRAPHIQL_PAGE := $(GRAPHIQL)/dist/index.html
GRAPHIQL_SOURCES := $(shell find $(GRAPHIQL) \( -name node_modules -o -name dist -o -name __pycache__ \) -prune -o -type f ! -name '*.py' -print 2>/dev/null)
CHECKED := $(wildcard app tests migrations)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(RUNTIME) graphiql ## Start the gateway with everything it needs
	$(BIN)/python -m app serve $(ARGS)

.PHONY: test
test: $(DEV) graphiql ## Run the tests and print their coverage
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=term $(ARGS)

.PHONY: check
check: $(DEV) ## Check style, types, imports, the printed schema and the migrations
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(BIN)/python -m app schema --check
	$(BIN)/python -m app migrate --check

.PHONY: bench
bench: $(DEV) ## Measure the gateway's speed
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: schema
schema: $(RUNTIME) ## Print the GraphQL schema into schema.graphql, and who may do what into README.md
	$(BIN)/python -m app schema

.PHONY: migrate
migrate: $(RUNTIME) ## Bring the database up to date
	$(BIN)/python -m app migrate

.PHONY: format
format: $(DEV) ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

.PHONY: graphiql
ifeq ($(shell command -v npm),)
graphiql: ## Build the pages /graphql and /insight, where Node is there
	@echo "npm not found: GraphiQL is not built, its page falls back to assets from a CDN; neither is store insight"
else
graphiql: $(GRAPHIQL_PAGE)
endif

$(GRAPHIQL_PAGE): $(GRAPHIQL_SOURCES)
	@if [ ! -f $(GRAPHIQL)/package.json ]; then :; \
	elif (cd $(GRAPHIQL) && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build); then touch $@; \
	else echo "GraphiQL could not be built, its page falls back to assets from a CDN; neither could store insight" >&2; fi

.PHONY: lock
lock: $(DEV) ## Lock the newest fitting versions of all dependencies
	$(BIN)/uv pip compile $(LOCKING) --group build pyproject.toml -o .ci/requirements.lock
	$(BIN)/uv pip compile $(LOCKING) --group build --group dev --constraint .ci/requirements.lock pyproject.toml -o .ci/requirements-dev.lock
	$(BIN)/uv pip compile $(LOCKING) --override $(CLAIRVOYANCE)/overrides.txt $(CLAIRVOYANCE)/requirements.txt -o $(CLAIRVOYANCE)/requirements.lock

CLAIRVOYANCE := tests/http/clairvoyance

LOCKING := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: clean
clean: ## Remove everything that was made, except the data
	rm -rf $(VENV) $(GRAPHIQL)/dist $(GRAPHIQL)/node_modules build dist htmlcov .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): .ci/requirements.lock pyproject.toml | $(BIN)/python
	$(call install,$<)

$(DEV): .ci/requirements-dev.lock pyproject.toml | $(BIN)/python
	$(call install,$<)

define install
$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
touch $@
endef
