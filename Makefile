# What a fresh clone needs: python3 (3.11 or later, with venv), git and make. Everything else is set up inside the clone.
#
#   make demo     the main job on real input
#   make test     what the tests need is set up, then all of them run
#   make help     the rest

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The stamps name the interpreter, so that another PYTHON= gets its virtual environment made anew.
# Only a folder with the file made-by-make in it is ever removed: others may hold what nobody could bring back.
IDENTITY := $(shell $(PYTHON) -c 'import sys; print(sys.executable, sys.version_info[:3])' 2>/dev/null)
OLD_IDENTITY := $(shell cat $(VENV)/identity 2>/dev/null)
ifneq ($(IDENTITY),$(OLD_IDENTITY))
.PHONY: $(VENV)/identity
endif

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --require-hashes --only-binary :all: -r

.DELETE_ON_ERROR:
.PHONY: help demo test check lint types unit lock bench bench-here clean system-packages

help:
	@echo "make demo      run the main job on every file of Python's standard library, and show the timeline"
	@echo "make test      check and test everything"
	@echo "make bench     run the benchmarks, beside every rival; takes an hour"
	@echo "make lock      resolve the dependencies anew"
	@echo "make clean     remove what make made"
	@echo "PYTHON=python3.13 VENV=.venv-3.13 chooses another interpreter and where its packages go"

demo: $(VENV)/runtime
	@$(BIN)/python examples/demo.py

test: system-packages $(VENV)/test
	@echo "== ruff: lint and format"
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@echo "== mypy: types"
	@$(BIN)/mypy
	@echo "== pytest"
	@$(BIN)/python -m pytest

# The rivals have an environment of their own: what they bring along must not be there when the tests run.
bench:
	@$(MAKE) --no-print-directory VENV=$(VENV)-bench bench-here

bench-here: $(VENV)/bench
	@for script in benchmarks/*.py benchmarks/spikes/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: $(VENV)/test
	@$(PIP) install uv && scripts/lock.sh

clean:
	@for marker in .venv*/made-by-make; do if test -e $$marker; then rm -rf $$(dirname $$marker); fi; done
	rm -rf demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis

system-packages:
	@scripts/system_packages.sh

$(VENV)/identity:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "$(PYTHON) is missing or older than 3.11: install python3 (3.11 or later), or say PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install python3-venv" >&2; exit 1; }
	@test ! -e $(VENV) || test -e $(VENV)/made-by-make || \
	  { echo "$(VENV) is there and make did not make it: move it away, or name another folder, as in VENV=.venv-make" >&2; exit 1; }
	@echo "setting up $(VENV) with $(IDENTITY)"
	@rm -rf $(VENV) && mkdir -p $(VENV) && touch $(VENV)/made-by-make
	@$(PYTHON) -m venv $(VENV)
	@echo '$(IDENTITY)' > $@

$(VENV)/runtime: $(VENV)/identity requirements/runtime.lock pyproject.toml
	@echo "installing what coeval needs"
	@$(INSTALL) requirements/runtime.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/test: $(VENV)/runtime requirements/test.lock
	@echo "installing what the tests need"
	@$(INSTALL) requirements/test.lock
	@touch $@

$(VENV)/bench: $(VENV)/runtime requirements/bench.lock
	@echo "installing what the benchmarks need"
	@$(INSTALL) requirements/bench.lock
	@touch $@
