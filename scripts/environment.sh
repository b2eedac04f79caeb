#!/bin/sh
# Makes the virtual environment $VENV (.venv) if need be, and installs into it the named locks
# of requirements/ and the package itself, from this tree; with the lock dev also
# chatsvc-conformance. What is in the way is said in one line.
# Usage: [PYTHON=…] [VENV=…] scripts/environment.sh LOCK…
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

fail() {
    echo "chatsvc: $*" >&2
    exit 2
}

runs() { # a version manager's shim may be on the PATH and still run nothing
    "$1" -c 'import sys' >/dev/null 2>&1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

makes_environments() { # Debian ships both in a package of their own
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

choose() {
    too_old=
    bare=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
        runs "$candidate" || continue
        if ! new_enough "$candidate"; then
            too_old=${too_old:-$candidate}
        elif ! makes_environments "$candidate"; then
            bare=${bare:-$candidate}
        else
            python=$candidate
            return
        fi
    done
    if [ -n "$bare" ]; then
        fail "$bare cannot make virtual environments: install its venv module" \
            "(Debian, Ubuntu: apt-get install python$(version "$bare")-venv), then run make again."
    elif [ -n "$too_old" ]; then
        fail "Python 3.11 or newer is needed and $too_old is $(version "$too_old"):" \
            "install a newer one, or name it: make PYTHON=/path/to/python3.11"
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON does not run: name a Python of 3.11 or newer."
    fi
    fail "Python 3.11 or newer is needed and none was found: install it, or name it:" \
        "make PYTHON=/path/to/python3.11"
}

if ! { runs "$venv/bin/python" && new_enough "$venv/bin/python"; }; then
    choose
    echo "chatsvc: making $venv with $python ($(version "$python"))"
    "$python" -m venv --clear "$venv"
fi

packages='--editable .'
case " $* " in
*' dev '*) packages="$packages --editable ./conformance" ;;
esac
set -- $(printf ' -r requirements/%s.txt' "$@")
echo "chatsvc: installing what$(printf ' %s' "$@" | sed 's/ -r / /g') name"
runs_pip() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1
}
runs_pip || "$venv/bin/python" -m ensurepip >/dev/null ||
    fail "$venv has no pip: remove it (make clean), then run make again."
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
$pip install --require-hashes "$@" ||
    fail "the packages could not be installed: pip says why above. Is a package index in reach?"
# Built without isolation: what builds it is locked and installed already.
$pip install --no-deps --no-build-isolation $packages
