#!/usr/bin/env bash
# Remakes requirements/*.txt from pyproject.toml: exact versions with hashes, good for every
# supported Python and platform, and without the address of any index: each machine uses its own.
# Usage: scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."

# uv does not read pip's configuration; a mirror set there is meant for this as well.
index=$(${PYTHON:-python3} -m pip config get global.index-url 2>/dev/null || true)
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    export UV_DEFAULT_INDEX=$index
fi

compile() {
    local target=$1
    shift
    ${UV:-uv} pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --annotation-style=line \
        --output-file "requirements/$target.txt" "$@"
}

# The widest first; the others follow it, so that one version of a package is in use everywhere.
compile dev pyproject.toml --extra demo --group dev requirements/build.in "$@"
compile build requirements/build.in --constraints requirements/dev.txt
compile run pyproject.toml --constraints requirements/dev.txt
compile demo pyproject.toml --extra demo --constraints requirements/dev.txt
compile mutation --group mutation --constraints requirements/dev.txt
