#!/bin/sh
# Makes .venv and installs the locked packages and gridtape itself into it. Called by make, from the project's folder.
# uv, itself from the hash lock, does in seconds what takes pip most of a minute; where uv cannot reach the package
# index as this machine's pip is set up to, pip does it.
set -eu

say() { printf 'gridtape set-up: %s\n' "$*"; }
fail() { printf 'gridtape set-up failed: %s\n' "$*" >&2; exit 1; }

is_fit() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if [ -n "${PYTHON:-}" ]; then
    is_fit "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer."
else
    for candidate in python3.13 python3.12 python3.11 python3; do
        if is_fit "$candidate"; then PYTHON=$candidate; break; fi
    done
    [ -n "${PYTHON:-}" ] || fail "no Python 3.11 or newer was found. Install one (Debian, Ubuntu: apt-get install \
python3 python3-venv; macOS: brew install python), or say where it is: make install PYTHON=/path/to/python3"
fi
version=$("$PYTHON" -c 'import platform; print(platform.python_version())')

"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail "$PYTHON ($version) comes without venv or ensurepip. \
Install them (Debian, Ubuntu: apt-get install python3-venv), or take another one: make install PYTHON=/path/to/python3"

if ! .venv/bin/python -c '' >/dev/null 2>&1; then
    say "1/4 Python environment in .venv (Python $version)"
    "$PYTHON" -m venv --clear .venv || fail "the environment .venv could not be made; see above. Is this folder writable?"
elif ! .venv/bin/python -c 'import pip' >/dev/null 2>&1; then
    say "1/4 pip into the environment that is in .venv already"
    .venv/bin/python -m ensurepip >/dev/null || fail "pip could not be put into .venv; see above. Or: make clean install"
fi

count=$(grep -c '==' requirements.txt)
say "2/4 $count locked packages into .venv (about 220 MB to download, once; every hash is checked)"
started=$(date +%s)
quiet=--quiet
[ ! -t 2 ] || quiet=
awk '/^uv==/ { on = 1 } on && /^[a-z]/ && !/^uv==/ { exit } on' requirements.txt > .venv/uv.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt ||
    fail "nothing can be installed; see above. Is this machine online? Behind a proxy, set HTTPS_PROXY; with an own \
package index, set it up for pip (pip config)."
export VIRTUAL_ENV="$PWD/.venv"
if ! .venv/bin/uv pip install $quiet --require-hashes -r requirements.txt; then
    say "uv could not install them; see above. pip tries (this takes a minute or two)"
    .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements.txt ||
        fail "the packages could not be installed; see above. What to do: check the network and the free disk space (1 GB)."
fi

say "3/4 gridtape itself (after $(($(date +%s) - started)) s)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable . ||
    fail "gridtape itself could not be installed; see above."

say "4/4 Apache Kafka (46 MB to download, once; one start of it is kept, which halves the later ones)"
.venv/bin/python -m streams.local.prepare >.venv/kafka.log 2>&1 ||
    say "left out: $(tail -n 1 .venv/kafka.log) What needs Kafka will try again."

touch .venv/installed
say "done. Try: make demo"
