# Everything a developer or a newcomer does. All of it happens in .venv, made from the exact versions in requirements/.

PYTHON ?= python3
CONFIG ?= config.yaml
TORCH ?= cuda
SOAK ?= 4
SOAK_FOLDER ?= build/soak
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps
LOCKED := $(PIP) --require-hashes --no-build-isolation

.PHONY: demo run test soak check bench setup setup-indextts install uninstall python-3.11 lock clean
.NOTPARALLEL: # two pips cannot share an environment

demo: $(VENV)/runtime.done ## hear Chinese and English speech that came in through both doors
	$(BIN)/python tools/demo.py

run: $(VENV)/runtime.done ## run the daemon with config.yaml
	$(BIN)/indexttsd serve --config $(CONFIG)

test: TORCH := any # a developer's CUDA build is kept
test: setup-indextts $(VENV)/dev.done ## every test that needs no GPU
	$(BIN)/python -m pytest -m "not listening and not reliability and not systemd" --numprocesses 4 --dist loadfile
	$(BIN)/python -m pytest -m reliability --numprocesses 2
	$(BIN)/python -m pytest -m systemd
	$(BIN)/python -m pytest -m listening

soak: $(VENV)/dev.done ## break a daemon SOAK times as much (4: an hour); figures over time go to build/soak/soak.svg
	INDEXTTSD_SOAK=$(SOAK) INDEXTTSD_SOAK_FOLDER=$(SOAK_FOLDER) \
	  $(BIN)/python -m pytest -m reliability --timeout 0 --verbose --capture no

check: $(VENV)/dev.done ## lint, types, which room may import which, known vulnerabilities (AUDIT=strict)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/audit.py

setup: $(VENV)/runtime.done ## only make .venv

setup-indextts: python-3.11 $(VENV)/indextts.done ## add IndexTTS 1.5, 2 and 2.5; TORCH=cpu without a GPU
	@$(BIN)/python tools/install_torch.py $(TORCH)

# PYTHON and TORCH count only if somebody says them: a service must not run on what happens to be first in root's PATH.
said = $(filter-out default file undefined,$(origin $(1)))
INSTALL_OPTIONS = $(if $(call said,PYTHON),--python $(PYTHON)) $(if $(WHEELS),--wheels $(WHEELS)) \
  $(if $(filter 0,$(START)),--no-start) $(if $(filter 1,$(INDEXTTS)),--torch $(TORCH)) $(if $(filter 0,$(INDEXTTS)),--torch none)

install: ## as root: install or upgrade the service; INDEXTTS=1 TORCH=cpu, START=0, WHEELS=folder, PYTHON=/usr/bin/python3.11
	@python3 tools/install.py install $(INSTALL_OPTIONS)

uninstall: ## as root: remove the service; configuration and data stay
	@python3 tools/install.py uninstall

bench: TORCH := any
bench: setup-indextts ## what batches over tasks gain here; --help of the script tells more
	$(BIN)/python benchmarks/batches.py

lock: ## renew requirements/*.lock; needs uv
	tools/lock.sh

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/runtime.done: requirements/build.lock requirements/runtime.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "Python 3.11 or 3.12 is needed; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "this Python cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) -r requirements/build.lock
	$(LOCKED) -r requirements/runtime.lock
	$(PIP) --no-build-isolation --editable .
	touch $@

python-3.11:
	@$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON)) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "IndexTTS needs Python 3.11; make clean, then name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }

$(VENV)/indextts.done: $(VENV)/runtime.done requirements/indextts.lock
	@echo "What IndexTTS imports: 0.25 GB to fetch, 1.1 GB on disk, a few minutes ..."
	$(LOCKED) -r requirements/indextts.lock
	touch $@

$(VENV)/dev.done: $(VENV)/runtime.done requirements/dev.lock
	$(LOCKED) -r requirements/dev.lock
	touch $@
