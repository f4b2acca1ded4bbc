# Every target sets up what it needs in .venv/ and can be run on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: serve test lint train evaluate bench gpu-check clean
.DELETE_ON_ERROR:

serve: $(VENV)/.serve
	$(BIN)/python -m service

# Training has a process of its own: beside all that the service's tests loaded, one of its tests crashed once.
test: $(VENV)/.develop
	$(BIN)/python -m pytest tests --ignore tests/unit/training $(PYTEST)
	$(BIN)/python -m pytest tests/unit/training $(PYTEST)

lint: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# make train PHOTOS=folder [BACKBONE=mobilenet_v2] [RECIPE=mse] [PHOTOGRAPHS=100000] [OUT=runs/mobilenet_v2]
#            [INITIAL=folder of a model] [WEIGHTS=imagenet.safetensors] [PROCESSES=1]
BACKBONE ?= mobilenet_v2
RECIPE ?= mse
OUT ?= runs/$(BACKBONE)
PROCESSES ?= 1
train: $(VENV)/.develop
	$(if $(PHOTOS),,$(error PHOTOS=folder is needed))
	$(BIN)/$(if $(filter 1,$(PROCESSES)),python,torchrun --standalone --nproc-per-node $(PROCESSES)) -m training fit \
		--backbone $(BACKBONE) --photos $(PHOTOS) --recipe $(RECIPE) --out $(OUT) \
		$(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS)) $(if $(INITIAL),--initial $(INITIAL)) \
		$(if $(WEIGHTS),--backbone-weights $(WEIGHTS))

# make evaluate PHOTOS=folder [STORE=model_store] [WEIGHTS=imagenet.safetensors] [PICTURES=folder [RUNS=runs]]
STORE ?= model_store
evaluate: $(VENV)/.develop
	$(if $(PHOTOS),,$(error PHOTOS=folder is needed))
	$(BIN)/python -m training evaluate --photos $(PHOTOS) --store $(STORE) \
		$(if $(WEIGHTS),--imagenet-weights $(WEIGHTS)) $(if $(PICTURES),--pictures $(PICTURES)) \
		$(if $(RUNS),--runs $(RUNS))

# The peers want versions of their own, so they have an environment of their own.
BENCH := .venv-bench
# make bench [PHOTOS=folder]: about half an hour, on a machine that does nothing else
bench: $(BENCH)/.bench
	$(BENCH)/bin/python -m benchmarks.network $(if $(PHOTOS),--photos $(PHOTOS))
	$(BENCH)/bin/python -m benchmarks.serving --memory

$(BENCH)/.bench: pyproject.toml benchmarks/constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check --constraint benchmarks/constraints.txt \
		--editable '.[bench,train]'
	touch $@

# make gpu-check [PHOTOS=folder] [STORE=model_store]: needs an NVIDIA GPU, and fails where there is none
gpu-check: $(VENV)/.develop
	$(BIN)/python -m benchmarks.gpu --store $(STORE) $(if $(PHOTOS),--photos $(PHOTOS))

clean:
	rm -rf $(VENV) $(BENCH)

$(VENV)/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.develop: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[train,dev]'
	touch $@ $(VENV)/.serve
