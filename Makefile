# FER Lab: `make help` explains.
.DEFAULT_GOAL := help
SHELL := /bin/sh
# What the user names is taken letter by letter: neither make nor a shell expands anything in it.
override VENV := $(or $(value VENV),.venv)
override DATA := $(or $(value DATA),bundled)
override PYTHON := $(value PYTHON)
export VENV DATA PYTHON
# Settings that are not ours would lead to other code, other packages, or tests that do nothing. One of Python's
# forbids it caches of compiled code; every import of TensorFlow then takes 12 s, not 5.
unexport VIRTUAL_ENV GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE \
	$(filter-out PYTHON,$(filter PYTHON% PYTEST_% RUFF_%,$(.VARIABLES)))

# The environment's own Python, and by -m the code of this folder, whatever the environment was made for.
RUN := "$$VENV/bin/python" -m

.PHONY: help setup clean report check smoke lab play data sweep

help: ## explain the targets
	@echo 'FER Lab: facial expression recognition as coursework that reproduces itself'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo '  make report DATA=path/to/fer2013   the same on photographs (image folder, CSV or archive.zip)'

setup: ## make the environment, where it is not there or was made for something else
clean: ## remove the environment and caches; runs stay
# The first of these that is Python 3.11 to 3.13; PYTHON=... names another.
setup clean:
	@set -- python3.12 python3.11 python3.13 python3 python; test -z "$$PYTHON" || set -- "$$PYTHON"; \
	for python do "$$python" -I -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
		&& exec "$$python" -I fer_tools/virtual_environment.py $@; done; \
	echo "make: no Python 3.11 to 3.13 by the name of $$*; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 2

report: setup ## train, evaluate, and build the report (bundled faces, or DATA=...)
	@$(RUN) fer_tools run --reuse --report --data="$$DATA"

check: setup ## say which exercises are done, and what a report still lacks
	@$(RUN) fer_tools check-my-work || test $$? = 1

smoke: setup ## run everything at a tiny size, to see that it works
	@$(RUN) fer_tools run --preset smoke --report --data="$$DATA"

# A message of more than 10 MB, such as a large photograph, would end the connection to the kernel without a word.
lab: setup ## open the notebooks in JupyterLab (on this machine only)
	@JUPYTER_PATH= JUPYTER_PREFER_ENV_PATH=1 $(RUN) jupyterlab --ServerApp.ip=127.0.0.1 \
		--ServerApp.tornado_settings='{"websocket_max_message_size": 268435456}' notebooks

play: setup ## play noughts and crosses with your face, in the browser
	@$(RUN) fer_tools play

data: setup ## download FER2013 into data/fer2013 and verify it
	@$(RUN) fer_tools data fetch

sweep: setup ## train at every point of the study of notebook 05 (hours; needs FER2013)
	@$(RUN) fer_tools sweep notebooks/05_optimisation.yaml

# -- for work on the repository itself: what students are given ends above this line
.PHONY: test quick fuzz load bench student site notebooks references faces lint lock
override REPORT := $(value REPORT)
export REPORT
# What tests write goes to a folder of their own, which goes with them, never among the user's runs and caches.
TESTS = folder="$$(mktemp -d 2>/dev/null)" || { echo "make: no temporary folder; correct or unset TMPDIR=$$TMPDIR" >&2; exit 2; }; \
	trap 'rm -rf "$$folder"' EXIT; trap 'exit 130' INT TERM; \
	export FER_RESULTS="$$folder/results" FER_CACHE="$$folder/cache"; $(RUN) fer_tools.environment pytest
LINTED = $(RUN) ruff check --quiet . && $(RUN) ruff format --check . || { echo "make: \`make lint\` mends what it can" >&2; exit 1; }

test: setup ## run every test: units, notebooks, report
	@$(LINTED)
	@$(TESTS) --nbval -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quick: setup ## lint, and the tests of the files that you have changed (under a minute)
	@$(LINTED)
	@$(TESTS) -q -m "not slow" $$("$$VENV/bin/python" tests/helpers/changed.py)

fuzz: setup ## try 10,000 broken inputs a target (FER_FUZZ=... chooses how many)
	@export FER_FUZZ="$${FER_FUZZ:-10000}"; $(TESTS) -q tests/fer_tools/test_fuzz*.py

load: setup ## measure reading 100,000 and 500,000 images, and FER2013 where it is
	@export FER_LOAD="$${FER_LOAD:-100000,500000}"; $(TESTS) -q -s tests/fer_lib/test_speed_of_loading.py

bench: setup ## time training and prediction against plain Keras
	@$(RUN) fer_tools bench --data="$$DATA"

student: setup ## write dist/student, to hand out: notebooks without solutions; and dist/nbgrader, with them
	@$(RUN) fer_tools.students

site: setup ## write dist/site, for any web host: notebooks, report (REPORT=RUN), promises, reference, game
	@$(RUN) fer_tools.site

notebooks: setup ## renew the outputs of the committed notebooks (one full run)
	@$(RUN) fer_tools run --reuse --report
	@$(RUN) fer_tools.renew notebooks

references: setup ## renew the notebooks that the tests compare with
	@$(RUN) fer_tools.renew references

faces: setup ## render the bundled faces anew and compare them with the committed ones
	@$(RUN) faces.build

lint: setup ## format the code
	@$(RUN) ruff check --fix . && $(RUN) ruff format .

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
		--extra faces --extra fetch --extra setup --extra site --extra test pyproject.toml -o requirements.lock
