PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test quick mutants docs dist clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: $(INSTALLED)  ## train 256 members at once
	$(BIN)/jaxloop population sweeps/lr_wd.toml

test: $(INSTALLED)  ## ruff, pyright and every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pytest

quick: $(INSTALLED)  ## the tests that take seconds
	$(BIN)/pytest -m "not slow"

mutants: $(INSTALLED)  ## which changes of the code no quick test notices; an hour
	$(BIN)/pip install --quiet -c constraints.txt -e ".[mutants]"
	$(BIN)/mutmut run

docs: $(INSTALLED)  ## the documentation, in build/site
	$(BIN)/mkdocs build --quiet

dist: $(INSTALLED)  ## the wheel and the source distribution, in dist/
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) runs build dist
