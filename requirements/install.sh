#!/usr/bin/env bash
# Make an environment: install.sh PYTHON VENV LOCK. LOCK is cpu, cuda or peers. Names what is missing in one line.
# EXTRA_INDEX: address of a further package index, for the CPU build of torch where yours lacks it.
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
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$(cat "$here/uv.version")" 2>"$venv/uv.log" \
  || fail "uv cannot be installed from the package registry: see $venv/uv.log"

# Compiled now: every engine is a process of its own, and would compile some 10,000 files again
# wherever PYTHONDONTWRITEBYTECODE is set.
options=(--python "$venv/bin/python" --no-deps --compile-bytecode --requirement "$here/$lock.lock")
[ -z "${EXTRA_INDEX:-}" ] || options+=(--extra-index-url "$EXTRA_INDEX" --index-strategy unsafe-best-match)
log="$venv/install.log"
if ! "$venv/bin/uv" pip install "${options[@]}" >"$log" 2>&1; then
  if grep -q 'torch==2.13.0+cpu' "$log" && grep -qiE 'no (solution|version|wheels)|not found' "$log"; then
    fail "the registry has no torch==2.13.0+cpu wheel for Python $version: pass EXTRA_INDEX=<PyTorch's CPU wheel index>, or UV_FIND_LINKS=<a folder that holds the wheel> (details: $log)"
  fi
  tail -n 5 "$log" >&2
  fail "installing requirements/$lock.lock failed: see $log"
fi
"$venv/bin/uv" pip install --python "$venv/bin/python" --quiet --no-deps --no-build-isolation --editable "$root" \
  || fail "installing this project into $venv failed"
