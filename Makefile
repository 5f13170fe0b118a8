# make demo, make test, make lint: each does all of its own set-up; all share one environment in .tox/py.
PYTHON ?= python3
TOX = .venv/bin/tox

.PHONY: demo test lint environment clean

demo: environment
	.tox/py/bin/python examples/demo.py

test: $(TOX)
	$(TOX) run -e py

lint: environment
	.tox/py/bin/ruff check
	.tox/py/bin/ruff format --check
	.tox/py/bin/mypy
	.tox/py/bin/lint-imports

environment: $(TOX)
	$(TOX) run -q -e py --notest

$(TOX):
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet "tox>=4.11"
	@touch $(TOX)

clean:
	rm -rf .venv .tox .modelviz .modelviz-demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
