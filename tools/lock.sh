#!/bin/sh
# Renew the locks: exact versions with the hashes of every file, so that a fresh machine next year gets the same.
# Needs uv (pip install uv). Run it after a change in pyproject.toml or requirements/*.in, then run the tests.
set -eu
cd "$(dirname "$0")/.."
lock() { uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 "$@"; }
lock requirements/build.in --output-file requirements/build.lock
lock pyproject.toml --overrides requirements/overrides.txt --output-file requirements/runtime.lock
lock requirements/dev.in --constraints requirements/runtime.lock --output-file requirements/dev.lock
