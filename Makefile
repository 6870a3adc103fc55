# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --require-hashes --no-deps
# Where the documentation is built. The variable of mkdocs-material silences an advertisement on every build.
SITE ?= site
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(SITE)

# The demo's settings; `make ui` opens the same instance.
DEMO ?= $(CURDIR)/demo
DEMO_DUMP ?= 20260101
DEMO_ENV := JGPT_DATA=$(DEMO)/data DAGSTER_HOME=$(DEMO)/data/.dagster JGPT_WIKI=samplewiki \
	JGPT_DUMPS_URL=file://$(DEMO)/mirror JGPT_CC100_URL=file://$(DEMO)/mirror/cc-100/ja.txt.xz \
	JGPT_SHARDS=2 JGPT_MODEL=tiny JGPT_REFRESH=off

# How many years `make simulate` runs through.
SEEDS ?= 200

.PHONY: install demo pictures ui generate test pytest test-long simulate lint lock docs docs-tables clean-demo

install: $(INSTALLED)

# Only files whose hashes are in requirements/ are installed. Where pip is configured to find a build of torch for CPUs,
# that one is; the package index has only the build for GPUs.
$(INSTALLED): pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --quiet --requirement requirements/build.txt
	$(PIP) --quiet --requirement requirements/torch-cpu.txt 2>/dev/null || $(PIP) --requirement requirements/torch.txt
	$(PIP) --requirement requirements/dev.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

demo: install
	$(BIN)/python -m jgpt_dagster.sample.pack $(DEMO)/mirror
	$(DEMO_ENV) $(BIN)/jgpt run --dump $(DEMO_DUMP) --config jgpt_dagster/sample/demo.yaml
	@echo
	@echo "look at it      make ui"
	@echo "talk to it      make generate PROMPT=海に近い町で"
	@echo "a later dump    make demo DEMO_DUMP=20260120"
	@echo "your own data   see the README, A first real run"

# The pictures of the documentation, taken by the browser test of a demo with both of its dumps.
pictures: demo
	$(MAKE) demo DEMO_DUMP=20260120
	JGPT_PICTURED=$(DEMO) JGPT_SCREENSHOTS=docs/images $(BIN)/python -m pytest jgpt_dagster_tests/e2e/test_ui.py \
		-k "shows_its_pictures or shows_its_graph"

# Opens the UI with the results of `make demo`, on 127.0.0.1:3000.
ui: install
	$(DEMO_ENV) $(BIN)/jgpt ui

# Talks to the model of `make demo`. The shell takes the prompt from its environment, as it was given, so that it may
# hold quotes and dollars.
PROMPT ?= 海に近い町で
override PROMPT := $(value PROMPT)
export PROMPT
generate: install
	@$(DEMO_ENV) $(BIN)/jgpt generate -- "$$PROMPT"

# All tests of a file run on one worker, because they share fixtures. Workers take files in the order set by conftest.py.
# Tests wait for their own processes a third of the time, so there is one worker more than cores; more than four would
# need more than 8 GB.
# The type checker keeps one core busy for a minute, so lint runs beside the tests.
test: install
	$(MAKE) --jobs=2 lint pytest

# Hundreds of processes would compile the same files if none kept its bytecode.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $$(( $$(nproc) + 1 )) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

pytest: install
	$(PYTEST)

# Tests that repeat a promise at more moments, or through the UI, the daemon and a cluster.
test-long: install
	$(PYTEST) -m long

# Years of a deployment in fast time, a seed each; `make test` has the first ten.
simulate: install
	$(BIN)/python -m jgpt_dagster_tests.simulation $(SEEDS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py
	$(MKDOCS) --quiet

# Writes requirements/ for the versions in constraints.txt.
lock: install
	$(BIN)/python .ci/lock.py

# Builds the documentation as a site; site/index.html opens it.
docs: install
	$(MKDOCS)

# Rewrites the tables of settings in the documents from the code.
docs-tables: install
	$(BIN)/python docs/generate_tables.py

clean-demo:
	rm -rf $(DEMO)
