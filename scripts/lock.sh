#!/bin/sh
# Writes requirements/*.lock anew: what `make demo`, `make test` and `make bench` install, by exact version and hash, for
# every Python that we support. pip reads them; uv only resolves them. Run by `make lock`.
set -eu
cd "$(dirname "$0")/.."
lock() {
    # One version for every Python: numpy's newest, for 3.12 and later only, has types that mypy cannot read as 3.11.
    "${UV:-.venv/bin/uv}" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file "$@"
}
# hatchling and editables build the project itself: pip's build isolation would fetch them unlocked.
printf 'hatchling>=1.25\neditables>=0.5\n' > requirements/build.in
lock requirements/runtime.lock pyproject.toml requirements/build.in
lock requirements/test.lock pyproject.toml requirements/build.in --group dev
lock requirements/bench.lock pyproject.toml requirements/build.in requirements/bench.in
