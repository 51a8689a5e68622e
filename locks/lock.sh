#!/bin/sh
# Writes the lock files: one for everything, one per image and one for the benchmark's peers with the very same
# versions. Needs uv.
set -eu
cd "$(dirname "$0")/.."
compile() { uv pip compile --quiet --no-header --no-annotate --generate-hashes --universal --python-version 3.11 "$@"; }
compile pyproject.toml --all-extras --group dev --output-file locks/dev.txt
for part in operator sidecar api; do
  compile pyproject.toml --extra "$part" --constraints locks/dev.txt --output-file "locks/$part.txt"
done
compile --group bench --constraints locks/dev.txt --output-file locks/bench.txt
compile --group examples --constraints locks/dev.txt --output-file locks/examples.txt
