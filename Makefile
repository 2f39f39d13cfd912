# FER Lab: `make help` explains.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
DATA ?= bundled
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The first of these that is Python 3.11 to 3.13; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

# Some machines forbid Python its caches of compiled code; every import of TensorFlow then takes 12 s, not 5.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help report play test quick fuzz load lab data smoke sweep bench notebooks references faces lint lock clean

help: ## explain the targets
	@echo 'FER Lab: facial expression recognition as coursework that reproduces itself'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo '  make report DATA=path/to/fer2013   the same on photographs (image folder, CSV or archive.zip)'

$(BIN)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo 'make: no Python 3.11 to 3.13 found; install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 2; }
	@echo "Setting up $(VENV) with $(PYTHON) (once; downloads about 1 GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@# uv installs the lock file in a tenth of pip's time; where it cannot, pip does it.
	@awk '/^[a-z]/ { wanted = /^uv==/ } wanted' requirements.lock > $(VENV)/uv.lock
	@$(PIP) install --quiet --require-hashes -r $(VENV)/uv.lock \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
		|| $(PIP) install --quiet --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

report: $(BIN)/.ready ## train, evaluate, and build the report (bundled faces, or DATA=...)
	@$(BIN)/fer run --reuse --report --data "$(DATA)"

test: $(BIN)/.ready ## run every test: units, notebooks, report
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check . || { echo "make: \`make lint\` mends what it can" >&2; exit 1; }
	@FER_RESULTS="$$(mktemp -d)" $(BIN)/python -m pytest --nbval -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quick: $(BIN)/.ready ## lint, and the tests of the files that you have changed (under a minute)
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check . || { echo "make: \`make lint\` mends what it can" >&2; exit 1; }
	@FER_RESULTS="$$(mktemp -d)" $(BIN)/python -m pytest -q -m "not slow" $$($(BIN)/python tests/helpers/changed.py)

fuzz: $(BIN)/.ready ## try 10,000 broken inputs a target (FER_FUZZ=... chooses how many)
	@FER_FUZZ="$${FER_FUZZ:-10000}" $(BIN)/python -m pytest -q tests/fer_tools/test_fuzz*.py

load: $(BIN)/.ready ## measure reading 100,000 and 500,000 images, and FER2013 where it is
	@FER_LOAD="$${FER_LOAD:-100000,500000}" $(BIN)/python -m pytest -q -s tests/fer_lib/test_speed_of_loading.py

play: $(BIN)/.ready ## play noughts and crosses with your face, in the browser
	@$(BIN)/fer play

lab: $(BIN)/.ready ## open the notebooks in JupyterLab (on this machine only)
	@$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 notebooks

data: $(BIN)/.ready ## download FER2013 into data/fer2013 and verify it
	@$(BIN)/fer data fetch

smoke: $(BIN)/.ready ## run everything at a tiny size, to see that it works
	@$(BIN)/fer run --preset smoke --report --data "$(DATA)"

sweep: $(BIN)/.ready ## train at every point of the study of notebook 05 (hours; needs FER2013)
	@$(BIN)/fer sweep notebooks/05_optimisation.yaml

bench: $(BIN)/.ready ## time training and prediction against plain Keras
	@$(BIN)/fer bench --data "$(DATA)"

notebooks: $(BIN)/.ready ## renew the outputs of the committed notebooks (one full run)
	@$(BIN)/fer run --reuse --report
	@$(BIN)/python -m fer_tools.renew notebooks

references: $(BIN)/.ready ## renew the notebooks that the tests compare with
	@$(BIN)/python -m fer_tools.renew references

faces: $(BIN)/.ready ## render the bundled faces anew and compare them with the committed ones
	@$(BIN)/python -m faces.build

lint: $(BIN)/.ready ## format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
		--extra faces --extra fetch --extra setup --extra test pyproject.toml -o requirements.lock

clean: ## remove the virtual environment and caches; runs stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
