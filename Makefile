# Every target sets up what it needs in .venv/ and can be run on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: serve test lint train evaluate clean
.DELETE_ON_ERROR:

serve: $(VENV)/.serve
	$(BIN)/python -m service

test: $(VENV)/.develop
	$(BIN)/python -m pytest $(PYTEST)

lint: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# make train PHOTOS=folder [BACKBONE=mobilenet_v2] [MINUTES=60] [OUT=runs/mobilenet_v2] [WEIGHTS=imagenet.safetensors]
BACKBONE ?= mobilenet_v2
MINUTES ?= 60
OUT ?= runs/$(BACKBONE)
train: $(VENV)/.develop
	$(if $(PHOTOS),,$(error PHOTOS=folder is needed))
	$(BIN)/python -m training fit --backbone $(BACKBONE) --photos $(PHOTOS) --minutes $(MINUTES) --out $(OUT) \
		$(if $(WEIGHTS),--backbone-weights $(WEIGHTS))

# make evaluate PHOTOS=folder [MODEL=model_store/mobilenet_v2]
MODEL ?= model_store/$(BACKBONE)
evaluate: $(VENV)/.develop
	$(if $(PHOTOS),,$(error PHOTOS=folder is needed))
	$(BIN)/python -m training evaluate --model $(MODEL) --photos $(PHOTOS)

clean:
	rm -rf $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.develop: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[train,dev]'
	touch $@ $(VENV)/.serve
