# One command each: `make demo` and `make test` install what they need first.
SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= 2.13.0
TORCHVISION ?= 0.28.0
# e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu for the build without GPU libraries
TORCH_INDEX ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := .venv/.installed

.PHONY: install demo test lint test-long bench bench-gpu bench-planted docs clean browser

install: $(STAMP)

# torch first and alone, so that its index never answers for the other packages;
# torchvision without its dependencies, so that it cannot bring another torch.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "torch==$(TORCH)"
	$(PIP) install --quiet -e ".[vision,faces,train,dev]"
	$(PIP) install --quiet --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "torchvision==$(TORCHVISION)"
	@touch $(STAMP)

demo: install
	$(BIN)/limner demo

test: install lint browser
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/build_words.py --check

# Pages are looked at with Debian's Chromium; without it those tests are skipped and say so.
browser:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) \
	      >/dev/null 2>&1 || echo "chromium could not be installed: the page tests will be skipped"; \
	  else echo "no chromium: the page tests will be skipped"; fi; }

test-long: install browser
	$(BIN)/python -m pytest -m long -n 0

bench: install
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/planner.py
	$(BIN)/python -m bench.verdict_trust --out docs/trust.md
	$(BIN)/python bench/demo_stages.py
	$(BIN)/python bench/train_step.py
	$(BIN)/python bench/train_slices.py

# Whole runs with one fault planted in each, hours of CPU: stop it when you like, it goes on.
bench-planted: install
	$(BIN)/python -m bench.planted_runs --jobs 2 --out docs/trust.md

# All that a GPU must measure, on any CUDA machine, in one go; run it again to go on after a stop.
# e.g. make bench-gpu GPU_ARGS="--minutes 25"
GPU_ARGS ?=
bench-gpu: install
	$(BIN)/python bench/gpu.py $(GPU_ARGS)

# What in docs/ is generated: the CLI reference and the table of character.yaml.
docs: install
	$(BIN)/python scripts/build_docs.py

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
