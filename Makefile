# Everything runs in a virtual environment, which the first command makes. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax

# What jax needs for the accelerator of this machine.
ACCELERATOR := $(if $(wildcard /dev/nvidiactl),cuda,$(if $(wildcard /dev/accel* /dev/vfio/*),tpu,base))

.PHONY: help quickstart test lint docs faults recover parity bench results extrapolation accelerator wheel clean

help:
	@echo "make quickstart  train, fold and report a network that discovers that it is a loop (minutes)"
	@echo "make test        run the tests"
	@echo "make lint        formatting, lint, types and spelling"
	@echo "make docs        build the site into build/docs: pages, example and API reference"
	@echo "make recover     train in two processes, kill one, and go on: the same end, bit for bit"
	@echo "make faults      fault injection: kills, power loss, failing calls, damaged files (docs/reliability.md)"
	@echo "make parity      install PyTorch, then: tests against it, and training speed against its own"
	@echo "make bench       step time of soft sharing relative to the unshared network, compile time against depth"
	@echo "make results     the three models on a small curriculum, 3 seeds each (docs/results.md)"
	@echo "make extrapolation  a network discovers that it is a loop, which then runs longer on larger grids"
	@echo "make accelerator  on a rented GPU or TPU: check, measure, train rows of the poster (docs/accelerator.md)"
	@echo "make wheel       build the wheel into dist and test it from another folder"
	@echo "make clean       remove the virtual environment, caches and runs/quickstart"

# Once for each set of extras, and again when setup.cfg changes.
$(VENV)/installed-%: setup.cfg pyproject.toml
	@echo "== installing into $(VENV) with $$($(PYTHON) --version) (extras: $*) =="
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar=off --editable '.$(if $(filter-out base,$*),[$*])'
	@touch $@

quickstart: $(VENV)/installed-base
	@echo "== training SCNN-R on generated shortest paths: one to four minutes on two CPU cores =="
	@$(BIN)/python -m softshare_jax.main --config=configs/quickstart.py --workdir=$(RUN)
	@echo "== folding =="
	@rm -rf $(RUN)-folded
	@$(BIN)/python -m softshare_jax.fold --workdir=$(RUN) --output=$(RUN)-folded
	@echo "== report =="
	@$(BIN)/python -m softshare_jax.report --workdir=$(RUN) --workdir=$(RUN)-folded

test: $(VENV)/installed-test
	@echo "== tests, two at a time: some minutes =="
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST)

lint: $(VENV)/installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# The pages run `python -m softshare_jax.NAME --help` and the scripts in examples/.
docs: $(VENV)/installed-docs
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs build/docs
	@echo "open build/docs/index.html"

faults: $(VENV)/installed-test
	$(BIN)/python -m tests.faults.strikes --faults=100 --table=docs/reliability.md
	$(BIN)/python -m tests.faults --table=docs/reliability.md

recover: $(VENV)/installed-test
	@echo "== training in two processes, and killing one of them: a minute or two =="
	@$(BIN)/python -m tests.faults.strikes --faults=1 --processes 2 --kinds kill

parity: $(VENV)/installed-test $(VENV)/installed-parity
	$(BIN)/python -m pytest tests/parity
	$(BIN)/python -m benchmarks.speed.torch_throughput

bench: $(VENV)/installed-base
	$(BIN)/python -m benchmarks.speed.step_time
	$(BIN)/python -m benchmarks.speed.compile_time

results: $(VENV)/installed-benchmarks
	$(BIN)/python -m benchmarks.research.curriculum --output=runs/curriculum

# SEEDS=3 measures the spread, STEPS=9000 trains as long as the config; STEPS=36 shows that everything works.
extrapolation: STEPS ?= 4000
extrapolation: $(VENV)/installed-base
	@echo "== two runs at a time: an hour on two CPU cores =="
	@$(BIN)/python -m benchmarks.research.extrapolation --output=runs/extrapolation --jobs=2 --steps=$(STEPS) \
		$(if $(SEEDS),--seeds=$(SEEDS))

# ROWS="swrn-28-10-2-cutout wrn-28-10-cutout", EPOCHS=200, MINUTES=30, DATA=folder; SMOKE=1 is tiny, on any machine.
accelerator: $(VENV)/installed-$(ACCELERATOR)
	$(BIN)/python -m benchmarks.accelerator --output=runs/accelerator $(if $(SMOKE),--smoke) \
		$(if $(ROWS),--rows $(ROWS)) $(if $(EPOCHS),--epochs=$(EPOCHS)) $(if $(MINUTES),--minutes=$(MINUTES)) \
		$(if $(DATA),--data_dir=$(DATA))

wheel: $(VENV)/installed-test
	.ci/test-wheel $(BIN)/python

clean:
	rm -rf $(VENV) .cache build dist docs/examples $(RUN) $(RUN)-folded *.egg-info
