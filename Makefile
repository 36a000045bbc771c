# Needs Python 3.10 to 3.14 and nothing else; PYTHON=python3.12 chooses one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := airflow,tap,emulator,webhooks,webhooks-brokers,parquet,docs
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]' --group dev

WORKERS ?= 4
# The longest come first. The tests of a file share what it has started, so they stay in one process.
PARALLEL := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10
LOADERS := tests/system/loaders tests/system/meltano
TESTS := tests/system tests/integration tests/unit \
	$(patsubst %,--ignore %,$(LOADERS) tests/system/airflow tests/system/celery tests/system/dbt tests/system/edge tests/system/ui)

# Meltano and Airflow start other programs by name, so the environment comes first on the path.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# They start many times, and would be compiled each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage unit loaders dbt e2e e2e-celery e2e-edge ui drills drift matrix matrix-live dist lint format docs docs-serve bench newest clean help

demo: $(VENV)/.installed  ## The main job, done before your eyes: campaign, replies, extractions, expiry, comparison, webhooks, models
	$(BIN)/python -m demo

test: $(VENV)/.installed  ## All tests but those of `make loaders`, `dbt`, `e2e` and `ui`, in WORKERS processes: they wait more than they work
	$(BIN)/python -m pytest $(PARALLEL) $(TESTS)

unit: $(VENV)/.installed  ## The tests that need no process and no server, in two processes
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 10 tests/unit

coverage: $(VENV)/.installed  ## `make test`, and which lines and branches of the code no test runs
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

loaders: $(VENV)/.installed  ## The tap with Meltano and real loaders, into files and PostgreSQL, whatever the API says
	$(BIN)/python -m pytest $(PARALLEL) $(LOADERS)

dbt: $(VENV)/.installed  ## `dbt_linq` on what real loaders made of real runs of the tap; installs dbt into an environment of its own
	$(BIN)/python -m pytest tests/system/dbt

e2e: $(VENV)/.installed  ## The provider on a real `airflow standalone`: some minutes, one at a time
	$(BIN)/python -m pytest tests/system/airflow

e2e-celery: $(VENV)/.installed  ## Campaigns on CeleryExecutor whose workers are killed; with LINQ_DRILLS=full more that dies: some minutes
	$(BIN)/python -m pytest tests/system/celery

e2e-edge: $(VENV)/.installed  ## A send on EdgeExecutor, whose worker has the API server alone and is killed in the middle: some minutes
	$(BIN)/python -m pytest tests/system/edge

# Debian's Chromium, since Playwright's own comes from a host that not everybody reaches. Without one, the tests are skipped.
ui: $(VENV)/.installed  ## The emulator's inbox in a real Chromium, with screenshots in output/ui; installs Debian's where it may
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -qq --yes chromium; } \
		|| echo "There is no Chromium, and it can't be installed here (that takes apt-get, and root): the tests are skipped."
	$(BIN)/python -m pytest tests/system/ui

drills: $(VENV)/.installed  ## The kill and fault drills of tap, campaigns and receiver, the loaders and dbt_linq, at their full length
	LINQ_DRILLS=full $(BIN)/python -m pytest tests/system/drills tests/system/webhooks tests/system/loaders tests/system/dbt \
		tests/integration/tap/test_histories.py tests/integration/tap/test_webhook_histories.py

drift: $(VENV)/.installed  ## What the newest release of the vendor's client offers, and this one does not
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --no-deps --target .drift linq-python
	PYTHONPATH=.drift $(BIN)/python -m pytest -q tests/integration/client/test_vendor_surface.py

matrix: $(VENV)/.installed  ## The tests on each version of Python, Airflow and the libraries; what has passed is not run again
	$(BIN)/python -m matrix $(ENVIRONMENTS)

matrix-live: $(VENV)/.installed  ## `make e2e` on each version of Airflow, one after the other; what has passed is not run again
	$(BIN)/python -m matrix --live $(ENVIRONMENTS)

dist: $(VENV)/.installed  ## The distribution and its two other names, in the folder dist, each installed once to see that it works
	rm -rf dist
	$(BIN)/python -m hatchling build --directory dist
	for name in tap-linq airflow-provider-linq; do (cd packaging/$$name && python -m hatchling build --target wheel --directory $(CURDIR)/dist) || exit; done
	$(BIN)/python packaging/check.py

lint: $(VENV)/.installed  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed  ## Fixes of style that need no thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed  ## What is made from the code in the documentation and in dbt_linq, then the site, in the folder site
	$(BIN)/python -m docs_tools
	$(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.installed  ## The documentation on http://127.0.0.1:8000, made again with each change
	$(BIN)/python -m mkdocs serve

bench: $(VENV)/.installed  ## What tap and campaigns cost, beside plain ones and the vendor's client: ratios, in half an hour
	$(BIN)/python -m benchmarks

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 14) or sys.exit("needs Python 3.10 to 3.14, got %d.%d" % v)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing; this takes a few minutes."
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip>=25.1'  # an older one knows no groups
	$(INSTALL) --constraint constraints.txt
	touch $@

newest: $(VENV)/.installed  ## The newest versions of all libraries, in the place of those of constraints.txt, until `make clean`
	$(INSTALL) --upgrade --upgrade-strategy eager

clean:  ## Remove all that the other targets made
	rm -rf $(VENV) .coverage .coverage.* .drift .meltano .demo .matrix output dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
