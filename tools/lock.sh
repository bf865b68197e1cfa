#!/bin/sh
# Renew the locks: exact versions with the hashes of every file, so that a fresh machine next year gets the same.
# Needs uv (pip install uv). Run it after a change in pyproject.toml or requirements/*.in, then run the tests.
# Each lock keeps to the versions of those before it, so that they install into one environment in any order.
set -eu
cd "$(dirname "$0")/.."
lock() { uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 "$@"; }
cd requirements
lock build.in --output-file build.lock
lock ../pyproject.toml --overrides overrides.txt --output-file runtime.lock
lock ../pyproject.toml indextts.in --extra indextts --config-file uv.toml \
  --constraints build.lock --constraints runtime.lock --output-file indextts.lock
# pip itself, which pip-audit asks for, is of the environment.
lock dev.in --constraints runtime.lock --constraints indextts.lock --no-emit-package pip --output-file dev.lock
