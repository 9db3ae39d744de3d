# `make` lists what can be made. Needs Python 3.11, make and git; all else goes into VENV.

# The first interpreter on the PATH that is new enough and can make environments.
PYTHON ?= $(shell for p in python3.11 python3 python; do $$p -c \
	'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && { command -v $$p; break; }; done)
VENV ?= .venv
RUNTIME_VENV ?= $(VENV)-tflite-runtime
MEDIAPIPE_VENV ?= $(VENV)-mediapipe
QAT_VENV ?= $(VENV)-qat
BACKENDS ?= tensorflow jax torch
CATEGORIES ?=
NETWORK ?= preset:imagenette_mobile
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
SHARE ?= 1
VERSIONS ?= newest
SEED := $(or $(SEED),$(shell date +%s))

# Also where the environment forbids it, Python keeps what it compiled: without, importing TensorFlow
# takes 17 s, not 6 s, in every process.
export PYTHONDONTWRITEBYTECODE =

BIN = $(VENV)/bin
# Python compiles what it imports: compiling all of TensorFlow takes longer than installing it.
INSTALL = -m pip install -qq --no-input --no-compile --disable-pip-version-check
TORCH = $(shell grep '^torch==' constraints.txt)# by name: a build for this machine is taken

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo explore test test-threads test-random test-all test-tools test-web test-kotlin test-arm64 test-qat test-drill test-wheel test-alone drill lint format docs site wheel clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.done ## train on digits, cut, quantize, compare (CATEGORIES=0,1,7 to choose)
	KERAS_BACKEND=tensorflow $(BIN)/python recipes/demo.py \
		$(if $(CATEGORIES),--categories="$(CATEGORIES)")

explore: $(VENV)/demo.done ## open a trained network in a browser (NETWORK=NET.keras)
	@$(BIN)/python tflite/web/serve.py "$(NETWORK)"

test: lint $(RUNTIME_VENV)/test.done $(MEDIAPIPE_VENV)/test.done ## lint, then the tests on the three backends, in turn
	@for backend in $(BACKENDS); do \
		echo "== tests on $$backend"; \
		KERAS_BACKEND=$$backend \
		TFLITE_RUNTIME_PYTHON="$(abspath $(RUNTIME_VENV))/bin/python" \
		MEDIAPIPE_PYTHON="$(abspath $(MEDIAPIPE_VENV))/bin/python" \
		$(BIN)/python -m pytest --ignore=tests/docs $(PYTEST_ARGS) || exit $$?; \
	done

test-threads: $(VENV)/test.done ## some tests with the kernels users have: oneDNN, two threads
	@for backend in $(BACKENDS); do \
		echo "== tests on $$backend with two threads"; \
		KERAS_BACKEND=$$backend TF_ENABLE_ONEDNN_OPTS=1 OMP_NUM_THREADS=2 XLA_FLAGS= \
		TF_NUM_INTRAOP_THREADS=2 TF_NUM_INTEROP_THREADS=2 \
		$(BIN)/python -m pytest -m kernels $$(grep -rl --include="*.py" mark.kernels tests) || exit $$?; \
	done

test-random: $(VENV)/test.done ## property tests on new examples (SEED=1 to draw those of 1)
	@for backend in $(BACKENDS); do \
		echo "== new examples on $$backend: make test-random BACKENDS=$$backend SEED=$(SEED)"; \
		KERAS_BACKEND=$$backend HYPOTHESIS_PROFILE=random \
		$(BIN)/python -m pytest $(PYTEST_ARGS) -m hypothesis --hypothesis-seed=$(SEED) || exit $$?; \
	done

test-all: test docs test-tools ## make test, docs and test-tools

# The page and the drill wait for what takes its usual time, so nothing else runs beside them.
test-tools: $(VENV)/test.done ## the tests that need two threads, or tools of their own
	@$(MAKE) --no-print-directory test-threads test-web test-drill
	@$(MAKE) --no-print-directory -j 2 -O test-qat test-wheel test-kotlin test-arm64

test-wheel: wheel ## install the wheel into two new environments and use it there
	@echo "== the wheel, with TensorFlow and then with NumPy and an interpreter"
	@rm -rf build/wheel
	@for room in keras light; do $(PYTHON) -m venv build/wheel/$$room || exit $$?; done
	@build/wheel/keras/bin/python $(INSTALL) -c constraints.txt "$$(echo dist/*.whl)[mobile]"
	@build/wheel/light/bin/python $(INSTALL) -c constraints.txt numpy ai-edge-litert
	@build/wheel/light/bin/python $(INSTALL) --no-deps dist/*.whl
	@for room in keras light; do \
		KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 build/wheel/$$room/bin/python -P \
			tests/smoke.py --files build/wheel/files || exit $$?; \
	done
	@rm -rf build/wheel

test-alone: wheel ## the wheel beside one backend alone (PYTHON=python3.13 VERSIONS=oldest)
	@for backend in $(BACKENDS); do \
		echo "== $$($(PYTHON) --version), $$backend alone, $(VERSIONS)"; \
		rm -rf build/alone && $(PYTHON) -m venv build/alone && \
		build/alone/bin/python $(INSTALL) $(if $(filter oldest,$(VERSIONS)),-c tests/oldest.txt) \
			"$$(echo dist/*.whl)[$$backend$$([ $$backend != tensorflow ] || echo ,mobile)]" && \
		KERAS_BACKEND=$$backend TF_CPP_MIN_LOG_LEVEL=3 build/alone/bin/python -P \
			tests/smoke.py --files build/alone/files || exit $$?; \
	done
	@rm -rf build/alone

test-web: $(VENV)/demo.done ## the page of tflite/web in Chromium, beside Python
	@echo "== the page"
	@PYTHON="$(abspath $(BIN))/python" tflite/web/test/run

test-kotlin: $(VENV)/demo.done ## the Kotlin core of tflite/android in LiteRT, beside Python
	@echo "== the Kotlin core"
	@tflite/android/test.sh "$(abspath $(BIN))/python" build/kotlin

test-arm64: $(VENV)/demo.done ## int8 files on an emulated ARM: the same bits as here
	@echo "== arm64"
	@tflite/arm64.sh "$(abspath $(BIN))/python" build/arm64

test-qat: $(QAT_VENV)/test.done ## training with fake quantization, beside post-training int8
	@echo "== quantization-aware training"
	@KERAS_BACKEND=tensorflow $(QAT_VENV)/bin/python -m pytest $(PYTEST_ARGS) tests/qat

test-drill: ## a tenth of the drill, the same cases in every run
	@$(MAKE) --no-print-directory drill SHARE=0.1 SEED=1

drill: $(VENV)/test.done ## damaged files, kills, full disks (SHARE=0.1 of the cases, SEED=1 to draw those of 1)
	@echo "== the drill: make drill SHARE=$(SHARE) SEED=$(SEED)"
	@KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m tests.drill \
		--share $(SHARE) --seed $(SEED)

lint: $(VENV)/test.done ## style, format, types, and extras that contradict each other
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pip check --disable-pip-version-check

format: $(VENV)/test.done ## mend style and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/test.done site ## build the site, then run its snippets, examples and notebooks
	@echo "== snippets, examples of docstrings, notebooks"
	@KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PYTEST_ARGS) tests/docs

site: $(VENV)/docs.done ## build the site into build/site/; a broken link or anchor is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@! grep -rnE '(src|<link[^>]* href)="(https?:)?//' build/site --include=*.html || { \
		echo "A page loads something from another host: see above." >&2; exit 1; }
	@echo "Open build/site/index.html, or, to search it: $(BIN)/mkdocs serve"

wheel: $(VENV)/wheel.done ## build the source distribution, and from it the wheel, into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build -t sdist -d dist
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
		-w dist dist/*.tar.gz
	@ls dist

clean: ## remove environments, caches and dist/ (runs/ and out/ stay)
	@for venv in "$(VENV)" "$(RUNTIME_VENV)" "$(MEDIAPIPE_VENV)" "$(QAT_VENV)"; do \
		if [ -f "$$venv/pyvenv.cfg" ]; then rm -rf "$$venv"; fi; \
	done
	rm -rf dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. The file *.done says that an installation came to its end.

%/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer (with venv and pip) is on the" \
		"PATH. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv "$*"

$(VENV)/demo.done: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing into $(VENV), once: 0.8 GB to download, 3 GB on disk ..."
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[tensorflow,train,mobile,plots]'
	@touch $@

# All extras but qat in one environment: `make lint` finds those that contradict each other.
EXTRAS = tensorflow,jax,torch,train,hierarchy,plots,video,mobile,weights,imagenet,server,docs,dev
$(VENV)/test.done: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing TensorFlow, JAX, torch and all tools into $(VENV), once: 5 GB on disk ..."
	@$(BIN)/python $(INSTALL) -c constraints.txt $(TORCH) -e '.[$(EXTRAS)]'
	@touch $(VENV)/demo.done $(VENV)/docs.done $@

$(VENV)/docs.done: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing MkDocs into $(VENV), once ..."
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/wheel.done: constraints.txt | $(VENV)/pyvenv.cfg
	@$(BIN)/python $(INSTALL) -c constraints.txt hatchling hatch-vcs
	@touch $@

# The interpreter of small devices: its last release needs Python 3.11 at most and NumPy 1.
$(RUNTIME_VENV)/test.done: | $(RUNTIME_VENV)/pyvenv.cfg
	@$(RUNTIME_VENV)/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "tflite-runtime 2.14 needs Python 3.11, $(RUNTIME_VENV) has another." \
		"Name one: make clean, then make test PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing tflite-runtime into $(RUNTIME_VENV), once ..."
	@$(RUNTIME_VENV)/bin/python $(INSTALL) tflite-runtime==2.14.0 numpy==1.26.4 pillow
	@touch $@

# A client that nobody here wrote, which needs a newer absl-py than the training tools take.
$(MEDIAPIPE_VENV)/test.done: | $(MEDIAPIPE_VENV)/pyvenv.cfg
	@echo "Installing MediaPipe into $(MEDIAPIPE_VENV), once ..."
	@$(MEDIAPIPE_VENV)/bin/python $(INSTALL) mediapipe==1.2.2
	@touch $@

# tensorflow-model-optimization works on tf_keras, a second Keras, which no other test should meet:
# this environment has both of them, and sees what is installed in VENV.
$(QAT_VENV)/test.done: $(VENV)/test.done | $(QAT_VENV)/pyvenv.cfg
	@echo "Installing tensorflow-model-optimization into $(QAT_VENV), once ..."
	@$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
		> "$$($(QAT_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/main.pth"
	@$(QAT_VENV)/bin/python $(INSTALL) -c constraints.txt -e '.[qat]'
	@touch $@
