# A fresh machine needs Python 3.11 to 3.13, pip, make, gcc and git. Everything else is installed into
# .venv.
PYTHON ?= python3
BIN := .venv/bin
# Python stores modules compiled when it first imports them, also where it is set to store none, as in
# many containers: each process of a sweep would compile PyTorch, Ray and MLflow again and take twice
# as long to start. To compile all that is installed would take longer: a sweep imports a fifth of it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo paper-smoke bench test test-all test-lowest test-browser chaos fuzz screenshots lint format ui docs lock clean

demo: .venv/installed
	$(BIN)/comodo sweep sweeps/demo.yaml

# Every sweep file with --smoke; stops at the first that fails.
paper-smoke: .venv/installed
	set -e; for file in $(filter-out sweeps/gopro.yaml,$(wildcard sweeps/*.yaml)); do \
		$(BIN)/comodo sweep $$file --smoke --store .comodo/smoke; \
	done

# The table of docs/performance.md, measured on this machine: 2.5 hours on two cores. Run nothing
# else at the same time.
bench: .venv/installed
	$(BIN)/python -m benchmarks

# Two files of tests at a time, each on one thread: much of a small sweep is waiting for processes to
# start, and threads that outnumber the cores wait for each other. In the order of their folders:
# xdist would begin with the files of most cases, and end with the two or three cases that each run a
# whole sweep, while one core has nothing left to do.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: .venv/dev
	COMODO_FUZZ=4 $(BIN)/python -m pytest -m ''

# The lowest versions that pyproject.toml allows, in an environment of their own: 6 GB, removed
# afterwards. Warnings of old versions are no errors.
LOWEST_TESTS := tests/config tests/core tests/search tests/models tests/evaluation \
	tests/training/test_distill.py tests/losses tests/deploy/test_export.py
test-lowest: .venv/dev
	set -e; folder=$$(mktemp -d); trap "rm -rf $$folder" EXIT; \
	$(BIN)/uv pip compile --quiet --python-version 3.11 --all-extras --group moment --group dev \
		--resolution lowest-direct --overrides overrides.txt --no-header -o $$folder/lowest.txt \
		pyproject.toml; \
	$(BIN)/uv venv --quiet --python $(BIN)/python $$folder/venv; \
	$(BIN)/uv pip install --quiet --no-deps --python $$folder/venv/bin/python \
		-r $$folder/lowest.txt; \
	$(BIN)/uv pip install --quiet --no-deps --python $$folder/venv/bin/python -e .; \
	OMP_NUM_THREADS=1 $$folder/venv/bin/python -m pytest -W default $(LOWEST_TESTS)

# Thousands of damaged recordings of every kind, and of clocks, rates, holes and pictures that are
# compared with a direct formulation.
fuzz: .venv/dev
	$(BIN)/python -m pytest -m '' tests/test_fuzz.py
	COMODO_FUZZ=80 $(BIN)/python -m pytest tests/data

# Breaks clusters, stores and processes; sweeps must end as if nothing had happened. 80 minutes.
chaos: .venv/dev
	$(BIN)/python -m pytest -m chaos -s

# The report's page and MLflow's pages of a small sweep, in a headless Chromium (CHROMIUM=...).
BROWSER := -m '' tests/report/test_html.py tests/e2e/test_browser.py
test-browser: .venv/dev
	$(BIN)/python -m pytest $(BROWSER)

# The same, and keeps the screenshots for docs/mlflow.md. Look at them before you commit them.
screenshots: .venv/dev
	COMODO_SCREENSHOTS=docs/mlflow $(BIN)/python -m pytest $(BROWSER)

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports --no-cache

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: .venv/installed
	$(BIN)/comodo ui

# The pages of docs/ and the docstrings as a site, in an environment of its own.
docs: .venv/docs/installed
	NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --quiet --strict
	@echo "Open build/site/index.html; with search: $(PYTHON) -m http.server --bind 127.0.0.1 --directory build/site"
.venv/docs/installed: requirements-docs.lock
	$(PYTHON) -m venv .venv/docs
	.venv/docs/bin/python -m pip install --quiet --require-hashes -r requirements-docs.lock
	touch $@

# momentfm pins old releases, so the lock is resolved with overrides and installed without resolving.
# The last line imports nearly all that sweeps import, on two cores, so that it is compiled also for
# commands that do not come from make.
INSTALL := $(BIN)/uv pip install --quiet --no-deps
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) -e .
	$(BIN)/python -c "import torch, ray.data, ray.train, ray.tune" & \
		$(BIN)/python -c "import comodo.report.report" && wait $$!
	touch $@

# What tests, formats and checks: 0.5 GB that running sweeps does not need.
.venv/dev: .venv/installed requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command 'make lock' --overrides overrides.txt
lock: .venv/dev
	$(LOCK) --all-extras --group moment -o requirements.lock pyproject.toml
	$(LOCK) --group dev --constraint requirements.lock -o requirements-dev.lock
	$(LOCK) --group docs -o requirements-docs.lock

clean:
	rm -rf .venv .comodo build
