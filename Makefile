PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Quick tests spend more time compiling than running; without LLVM's optimizations, compiling takes a third less.
QUICK_TESTS := XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" $(BIN)/pytest -m "not slow"

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
	$(QUICK_TESTS)
	$(BIN)/pytest -m slow

quick: $(INSTALLED)  ## the tests that take seconds
	$(QUICK_TESTS)

mutants: $(INSTALLED)  ## which changes of the code no quick test notices; an hour
	$(BIN)/pip install --quiet -c constraints.txt -e ".[mutants]"
	$(BIN)/mutmut run

docs: $(INSTALLED)  ## the documentation, in build/site
	$(BIN)/mkdocs build --quiet

dist: $(INSTALLED)  ## the wheel and the source distribution, in dist/
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) runs build dist
