# "make help" lists the targets. QGIS uses the system's Python and never the engine's packages.
SHELL := /bin/sh
.DEFAULT_GOAL := help

SYSTEM_PYTHON ?= /usr/bin/python3
ENGINE := .venv
ENGINE_PYTHON := $(ENGINE)/bin/python
QGIS_VENV := .venv-qgis
QGIS_PYTHON := $(QGIS_VENV)/bin/python
LOCKS := geoseg_qgis/engine_client/locks
SYSTEM_PACKAGES := qgis python3-qgis python3-venv xvfb xauth ca-certificates
CHECKED := geoseg_qgis training benchmarks scripts tests

# Tests of one file share its fixtures, so they run in one process. Each process computes with one
# thread, and compiled tests are kept, since compiling their assertions takes long.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(ENGINE_PYTHON) -m pytest -q --numprocesses $(WORKERS) --dist loadfile
PYTEST_QGIS := QT_QPA_PLATFORM=offscreen $(QGIS_PYTHON) -m pytest -q tests/qgis
unexport PYTHONDONTWRITEBYTECODE

# Labelled images, see docs/training.md; training goes on where it stopped, until MINUTES are used.
DATA ?= ../shared/data
MINUTES ?= 105
TRAINING := training
TRAINER_segassess := segassess.train
TRAINER_unigeoseg := unigeoseg.train
TRAIN_ALSO_unigeoseg := --scenes runs/unigeoseg-scenes
PROCESSES ?= 2
LAUNCHER_unigeoseg := -m torch.distributed.run --standalone --nproc-per-node $(PROCESSES)

ENGINE_STAMP := $(ENGINE)/geoseg-engine.json
QGIS_STAMP := $(QGIS_VENV)/.ready
UV = $(shell command -v uv || ls "$${GEOSEG_DATA:-$$HOME/.local/share/geoseg}"/installer/bin/uv)

.PHONY: help demo test test-fast test-fast-engine test-fast-qgis test-engine test-qgis setup system \
	lint package translations bench bench-models faults screenshots docs evaluate assess-maps assess-scores lock clean distclean

help: ## List the targets
	@grep -E '^[a-z%-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

demo: setup ## Map a sample orthophoto through the real qgis_process
	$(ENGINE_PYTHON) -m scripts.demo

test: setup ## Run all tests: those of the engine, then those in QGIS
	@status=0; \
	$(MAKE) --no-print-directory test-engine || status=1; \
	$(MAKE) --no-print-directory test-qgis || status=1; \
	exit $$status

test-fast: setup ## Run the fast tests in less than a minute
	@$(MAKE) --no-print-directory --jobs 2 --output-sync test-fast-engine test-fast-qgis

test-fast-engine:
	$(PYTEST) -m "not slow" tests --ignore=tests/qgis

test-fast-qgis:
	$(PYTEST_QGIS) -m "not slow"

test-engine: setup
	$(PYTEST) --ignore=tests/qgis

test-qgis: setup
	$(PYTEST_QGIS)

setup: $(ENGINE_STAMP) $(QGIS_STAMP) ## Install or update both environments

$(ENGINE_STAMP): $(LOCKS)/engine.txt $(LOCKS)/sources.txt requirements/dev.txt | system
	$(SYSTEM_PYTHON) -m geoseg_qgis.engine_client.setup --destination $(ENGINE) \
		--also requirements/dev.txt
	@touch $@

$(QGIS_STAMP): requirements/qgis.txt | system
	$(SYSTEM_PYTHON) -m venv --clear --system-site-packages $(QGIS_VENV)
	$(QGIS_PYTHON) -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--require-hashes -r requirements/qgis.txt
	@touch $@

system: ## Install missing Debian packages
	@missing=""; \
	if command -v dpkg-query >/dev/null; then \
		for package in $(SYSTEM_PACKAGES); do \
			dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q "ok installed" \
				|| missing="$$missing $$package"; \
		done; \
	fi; \
	if [ -n "$$missing" ]; then \
		root=""; [ "$$(id -u)" = 0 ] || root="sudo"; \
		echo "Installing$$missing"; \
		$$root apt-get update -q || echo "Some package lists could not be refreshed."; \
		$$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
			$$missing; \
	fi

lint: setup ## Check style, types and the security rules of plugins.qgis.org
	$(ENGINE_PYTHON) -m ruff check $(CHECKED)
	$(ENGINE_PYTHON) -m ruff format --check $(CHECKED)
	$(ENGINE_PYTHON) -m mypy geoseg_qgis training benchmarks scripts
	$(ENGINE_PYTHON) -m scripts.security

translations: setup ## Bring the translations up to date with the texts in the plugin
	$(ENGINE_PYTHON) -m scripts.translations

package: setup ## Write the plugin's zip to dist/
	$(ENGINE_PYTHON) -m scripts.package

bench: setup ## Measure how long users wait
	$(ENGINE_PYTHON) -m benchmarks.speed

bench-models: setup ## Time the networks of every model with random weights
	$(ENGINE_PYTHON) -m benchmarks.model_speed $(BENCH)

faults: setup ## Try deliberate faults on the engine and write docs/reliability.md
	$(ENGINE_PYTHON) -m benchmarks.faults

screenshots: setup ## Take pictures of the plugin in a real QGIS window
	$(ENGINE_PYTHON) -m scripts.screenshots

train-%: setup ## Train a built-in model (clip, dino, sam2, segassess, unigeoseg) or the U-Net (unet)
	$(ENGINE_PYTHON) $(LAUNCHER_$*) -m $(TRAINING).$(or $(TRAINER_$*),train_$*) --data $(DATA) \
		--out runs/$* --minutes $(MINUTES) $(TRAIN_ALSO_$*)

assess-maps: setup ## Map the training images with the trained CLIP: mistakes for SegAssess to learn
	$(ENGINE_PYTHON) -m $(TRAINING).segassess.foreign_maps --data $(DATA)

assess-scores: setup ## Score the trained SegAssess on masks of the trained U-Net, never seen before
	$(ENGINE_PYTHON) -m $(TRAINING).segassess.evaluate --data $(DATA) --run runs/segassess \
		--unet runs/unet --clip runs/clip

evaluate: setup ## Measure quality on unseen images and write docs/evaluation.md
	$(ENGINE_PYTHON) -m benchmarks.evaluate --data $(DATA)

docs: setup ## Write the page about models from their cards
	$(ENGINE_PYTHON) -m scripts.model_page

lock: setup ## Update the lock files within the limits of the .in files
	$(eval COMPILE := $(UV) pip compile --quiet --upgrade --universal --generate-hashes \
		--no-header --no-annotate --python-version)
	$(COMPILE) 3.10 --no-emit-package antlr4-python3-runtime $(LOCKS)/engine.in \
		-o $(LOCKS)/engine.txt
	$(COMPILE) 3.10 --no-deps $(LOCKS)/sources.in -o $(LOCKS)/sources.txt
	$(COMPILE) 3.9 $(LOCKS)/uv.in -o $(LOCKS)/uv.txt
	$(COMPILE) 3.10 --constraints $(LOCKS)/engine.txt requirements/dev.in -o requirements/dev.txt
	$(COMPILE) 3.10 requirements/qgis.in -o requirements/qgis.txt

clean: ## Remove the results of builds, tests and benchmarks
	rm -rf bench build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .qgis-settings
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environments, too
	rm -rf $(ENGINE) $(QGIS_VENV)
