# make demo       set up, then show the whole chain on a made-up clinic
# make test       set up, install what tests need on this machine, then all but what is marked long
# make test-all   the same, and the sweeps: 400 nights, files beyond 4 GiB, the stand-ins' own tests
# make test-fast  the libraries alone: no whole runs, no adapter that needs a server, nothing marked slow
# make bench      how fast it is, beside other programs in the same run; SIZE=50M for a small one
# make setup      .venv with the locked dependencies
# make lock       resolve the dependencies anew (needs uv)
# make release    what offices get, in build/release: the wheel, its lock file, installers, list of parts, sums
# make audit-deps the licences of all dependencies, and known vulnerabilities (asks osv.dev)

PYTHON ?= python3
SIZE ?= 1G
BIN := .venv/bin
LOCAL := $(foreach what,folder targets sources bandwidth source_files,tests/contract/test_$(what).py)
READY := .venv/.ready

.PHONY: demo test test-most test-heartbeats test-long test-all test-fast check setup machine lock release audit-deps bench clean

demo: setup
	$(BIN)/datasave demo demo

setup: $(READY)

$(READY): requirements-dev.lock pyproject.toml
	@sh tests/machine.sh python $(PYTHON)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

machine:
	sh tests/machine.sh tests

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	for platform in linux win32 darwin; do $(BIN)/mypy --platform $$platform --cache-dir .mypy_cache/$$platform || exit 1; done

# What counts heartbeats mostly waits, beside all else; that gives way to it.
test: machine check
	$(MAKE) --no-print-directory -j 2 test-most test-heartbeats

test-most:
	nice -n 10 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long and not heartbeats" --durations 20

test-heartbeats:
	$(BIN)/python -m pytest -m heartbeats

test-long:
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long

test-all: test
	$(MAKE) --no-print-directory test-long

test-fast: check
	$(BIN)/python -m pytest -n 4 --dist loadfile -m "not slow and not long" tests/unit tests/golden tests/conformance $(LOCAL)

bench: machine setup
	$(BIN)/python -m tests.benchmarks --size $(SIZE) --json build/bench/bench.json
	$(BIN)/python -m tests.benchmarks.fanout
	$(BIN)/python -m tests.benchmarks.waits

# The program's own packages are those of the other lock file: what is tried is what is installed.
RESOLVE := uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
  --python-version 3.11 pyproject.toml
lock:
	$(RESOLVE) --extra dev -o requirements-dev.lock
	$(RESOLVE) --constraint requirements-dev.lock -o requirements.lock

release: setup
	$(BIN)/python -m tests.release build/release

audit-deps: setup
	$(BIN)/python -m tests.supply licences
	$(BIN)/python -m tests.supply vulnerabilities

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo
