# These commands do everything on a machine that has Python >= 3.11, make and pip.
#   make demo   install into .venv and run the main job: real pictures from half as many measurements as pixels
#   make test   install into .venv and run the test suite
#   make test-page   drive the page of all claims in a headless Chromium, if there is one
#   make docs   install into .venv and build the pages of docs/ into build/docs; a warning is an error
#   make lint   install into .venv and check style and types
#   make accelerator   install into .venv and measure the device that is there, in at most eight minutes; where a Python has
#                      JAX for the device already, and all else: make accelerator DEVICE_PYTHON=python3
#   make clean  remove .venv, runs and builds
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-page docs lint accelerator clean

demo: .venv/experiments.stamp
	$(BIN)/python -m experiments compressed_sensing --preset quick

accelerator: $(if $(DEVICE_PYTHON),,.venv/experiments.stamp)
	PYTHONPATH=. $(or $(DEVICE_PYTHON),$(BIN)/python) -m experiments accelerator --preset quick --keep

test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-page: .venv/experiments.stamp
	$(BIN)/python -m experiments.report.browser

docs: .venv/docs.stamp
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/%.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e '.[$*]'
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info
