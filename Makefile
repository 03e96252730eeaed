# Everything runs in an environment of its own, .venv, made on first use. Only Python 3.11.5 or newer and make are needed.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11, 5))
PYTHON ?= $(shell for one in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$one -c '$(NEW_ENOUGH)' 2>/dev/null && command -v $$one && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench faults fuzz schema messages clean

demo: .venv/run                ## everything on loopback, with sample messages; prints what to open
	@$(BIN)/aboveboard demo

test: .venv/test               ## the tests, on every core; peers that are not installed are skipped with a reason
	$(BIN)/python -m pytest -q --numprocesses auto --dist loadfile

check: .venv/test              ## linter, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/bench             ## speed, beside peers in the same run; TABLES="pages messages" for some of it
	$(BIN)/python -m tests.bench $(TABLES)

faults: .venv/test             ## everything that can die does, under 10 000 messages; MESSAGES=N for fewer
	$(BIN)/python -m tests.faults $(MESSAGES)

fuzz: .venv/test               ## a million mutated messages through the engine; FUZZ=N SEED=S for others, AT=N for one again
	$(BIN)/python -m tests.fuzz

schema: .venv/run              ## the JSON Schema of the configuration file, from the models
	$(BIN)/aboveboard schema > docs/aboveboard.schema.json

messages: .venv/test           ## brings the catalogues of what recipients read up to date with templates and letters
	$(BIN)/pybabel extract -F web/locale/babel.cfg -k listed --no-location -o web/locale/messages.pot .
	$(BIN)/pybabel update --no-fuzzy-matching --ignore-obsolete -w 120 -D messages -i web/locale/messages.pot -d web/locale
	rm web/locale/messages.pot

clean:                         ## removes what make made
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || { echo "aboveboard needs Python 3.11.5 or newer: make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test,check]'
	@touch .venv/run $@

.venv/bench: .venv/test
	$(PIP) --editable '.[bench]'
	@touch $@
