# `make check` is what CI runs, after `pip install -c constraints.txt -e '.[test,docs,jpegxl]'`.
PYTHON ?= python
FUZZ_SECONDS ?= 5

# Threads that wait for work would spin; tests/conftest.py says the same to pytest alone.
export OMP_WAIT_POLICY ?= passive

.PHONY: check format lint types docs test test-fast matrix fuzz soak bench clean

check: lint types docs test

format: ## rewrite the code as the formatter wants it
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

docs: ## into site/; broken links are errors
	$(PYTHON) -m mkdocs build --strict --quiet --site-dir site

# With what is installed of pytest-xdist and pytest-cov: two processes take little more than half of the time of one.
WORKERS := $(shell $(PYTHON) -c "import xdist" 2>/dev/null && echo --numprocesses auto --maxprocesses 4 --dist worksteal)
COVERAGE := $(shell $(PYTHON) -c "import pytest_cov" 2>/dev/null && echo --cov --cov-report term)

test: ## fails below the floor of coverage in pyproject.toml, too
	$(PYTHON) -m pytest $(WORKERS) $(COVERAGE)

test-fast: ## what a change of the codec is most likely to break, in a minute or two
	$(PYTHON) -m pytest tests/test_layers.py tests/test_guest.py tests/test_codec.py tests/test_container.py \
		tests/test_entropy.py tests/test_integer.py tests/test_hiding.py tests/test_rate.py tests/contract -m "not slow"

matrix: ## nightly: the oldest Python with the lowest versions, torch's too, and the newest with the newest
	.ci/matrix

fuzz: ## needs `pip install atheris`; FUZZ_SECONDS for each
	$(PYTHON) tests/fuzz/seeds.py build/corpus
	$(PYTHON) tests/fuzz/fuzz_container.py build/corpus/aec1 -max_len=4096 -max_total_time=$(FUZZ_SECONDS) -verbosity=0
	$(PYTHON) tests/fuzz/fuzz_decoder.py build/corpus/aec1 -max_len=4096 -max_total_time=$(FUZZ_SECONDS) -verbosity=0

# Nightly: SOAK_COUNT mutated files through libaec under sanitizers, and SOAK_SECONDS of them through torch and libaec,
# for each family. Other files for each SEED. Inputs that end it are left in build.
SOAK_COUNT ?= 5000000
SOAK_SECONDS ?= 600
SEED ?= 1
soak:
	$(PYTHON) tests/fuzz/seeds.py build/soak
	for family in aec1 aec2; do \
		$(MAKE) -C native fuzz WEIGHTS=../build/soak/$$family.safetensors SEEDS="$$(echo $(CURDIR)/build/soak/$$family/*.aec)" \
			COUNT=$(SOAK_COUNT) SEED=$(SEED) && \
		(cd build && $(PYTHON) ../tests/fuzz/soak.py soak $$family $(SOAK_SECONDS) $(SEED)) || exit 1; \
	done

bench: ## speed by stages, with the default model
	$(PYTHON) benchmarks/speed.py --output build/speed.json

clean:
	rm -rf build dist site
