# chatsvc: `make help` lists what there is. Needs Python 3.11 or newer and a package index.
# Another Python: make PYTHON=/path/to/python3.12 …  More flags for pytest: make test ARGS="-k log"

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto
FAULT_ROUNDS ?= 20
export PYTHON VENV

.DEFAULT_GOAL := help
.PHONY: help run demo test watch lint format fault bench mutants transcripts autobahn lock upgrade clean

help: ## What can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12

run: $(VENV)/.run ## Serve on http://127.0.0.1:8080 with the embedded store (PORT=…; reads .env)
	@exec $(BIN)/python -m chatsvc dev $(if $(wildcard .env),--env-file .env) $(ARGS)

demo: $(VENV)/.run ## The interactive terminal client, against a running server (PORT=… as for run)
	@exec $(BIN)/python -m demo_cli $(ARGS)

# A file stays with one worker, which makes its servers and environments once. In the order of
# the folders: the long files are not last. One run of pytest, and last: its count ends the output.
test: $(VENV)/.dev lint ## Everything that must pass
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

watch: $(VENV)/.dev ## Run tests again at each change (ARGS="tests/unit/log"; the unit tests without)
	@exec $(BIN)/python -m scripts.watch $(ARGS)

lint: $(VENV)/.dev ## Style, types and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## Put style right where that can be done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fault: $(VENV)/.dev ## Break things on purpose, the long form (FAULT_ROUNDS=20)
	$(BIN)/python -m pytest tests/fault --fault-rounds $(FAULT_ROUNDS) $(ARGS)

bench: $(VENV)/.dev ## The measured claims of bench/README.md
	$(BIN)/python -m bench $(ARGS)

mutants: $(VENV)/.mutation ## Change the code bit by bit: which change does no test notice? (hours)
	$(BIN)/python -m scripts.mutants $(ARGS)

transcripts: $(VENV)/.dev ## Remake docs/transcripts/ (needs tmux, and a MongoDB: MONGOD=…)
	$(BIN)/python -m scripts.transcripts $(ARGS)

autobahn: $(VENV)/.dev ## Autobahn's WebSocket suite, from its container image (needs Docker)
	scripts/autobahn.sh

lock: $(VENV)/.uv ## Remake requirements/*.txt, keeping versions that still fit
	UV=$(BIN)/uv PYTHON=$(BIN)/python scripts/lock.sh

upgrade: $(VENV)/.uv ## Remake requirements/*.txt with the newest versions
	UV=$(BIN)/uv PYTHON=$(BIN)/python scripts/lock.sh --upgrade

clean: ## Remove what was made; data/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.run: requirements/demo.txt requirements/build.txt pyproject.toml scripts/environment.sh
	@scripts/environment.sh demo build
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml conformance/pyproject.toml scripts/environment.sh
	@scripts/environment.sh dev
	@touch $(VENV)/.run $@

$(VENV)/.mutation: $(VENV)/.dev requirements/mutation.txt
	@scripts/environment.sh dev mutation
	@touch $@

$(VENV)/.uv: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	@touch $@
