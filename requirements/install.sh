#!/usr/bin/env bash
# Make an environment: install.sh PYTHON VENV LOCK. LOCK is cpu, cuda or peers. Names what is missing in one line.
# EXTRA_INDEX: address of a further package index, for the CPU build of torch where yours lacks it; it serves torch
# alone, whose hash is of the build for Python 3.11 and is not held against what comes from there.
set -euo pipefail
python=$1 venv=$2 lock=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

fail() { echo "error: $*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "$python not found: install Python 3.11 or 3.12, or pass PYTHON=/path/to/python3.11"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
  3.11 | 3.12) ;;
  *) fail "$python is Python $version; 3.11 or 3.12 is needed: pass PYTHON=python3.11" ;;
esac
[ -f "$here/$lock.lock" ] || fail "ACCEL=$lock is not known: cpu or cuda"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || fail "$python -m venv does not work: install its venv module"

# uv does not read pip's own settings for folders of wheels.
links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$venv/bin/python" -m pip config get global.find-links 2>/dev/null || true)}}
export UV_FIND_LINKS="$links"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$here/uv.txt" 2>"$venv/uv.log" \
  || fail "uv cannot be installed from the package registry: see $venv/uv.log"

# Compiled now: every engine is a process of its own, and would compile some 10,000 files again
# wherever PYTHONDONTWRITEBYTECODE is set.
options=(--python "$venv/bin/python" --no-deps --compile-bytecode)
log="$venv/install.log"
# The lock's entry of one package, or with `but` all others.
locked() { awk -v name="$1" -v but="${2:-}" '/^[^ ]/ { split($1, a, "=="); on = (a[1] == name) != (but != "") } on' "$here/$lock.lock"; }

install_locked() {
  # what builds source packages comes first: the locked one, not whichever is newest
  locked setuptools >"$venv/build.lock"
  "$venv/bin/uv" pip install "${options[@]}" --require-hashes --requirement "$venv/build.lock" || return
  if [ -n "${EXTRA_INDEX:-}" ]; then
    torch=$(locked torch | sed -n 's/^\(torch==[^ ]*\).*/\1/p')
    "$venv/bin/uv" pip install "${options[@]}" --default-index "$EXTRA_INDEX" "$torch" || return
    locked torch but >"$venv/rest.lock"
  else
    cp "$here/$lock.lock" "$venv/rest.lock"
  fi
  "$venv/bin/uv" pip install "${options[@]}" --require-hashes --no-build-isolation --requirement "$venv/rest.lock"
}

if ! install_locked >"$log" 2>&1; then
  if grep -q 'torch==2.13.0+cpu' "$log" && grep -qiE 'no (solution|version|wheels)|not found|hash mismatch' "$log"; then
    fail "the registry has no torch==2.13.0+cpu wheel for Python $version: pass EXTRA_INDEX=<PyTorch's CPU wheel index>, or UV_FIND_LINKS=<a folder that holds the wheel> (details: $log)"
  fi
  tail -n 5 "$log" >&2
  fail "installing requirements/$lock.lock failed: see $log"
fi
"$venv/bin/uv" pip install --python "$venv/bin/python" --quiet --no-deps --no-build-isolation --editable "$root" \
  || fail "installing this project into $venv failed"
