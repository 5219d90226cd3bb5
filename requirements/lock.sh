#!/usr/bin/env bash
# Compile the locks: lock.sh UV. A lock without addresses installs from whatever registry is set up, and its hashes
# say that what comes from there is what was locked.
set -euo pipefail
uv=$1
here=$(cd "$(dirname "$0")" && pwd)
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
common=(--python-platform x86_64-manylinux_2_28 --python-version 3.11 --no-annotate --no-header --quiet --upgrade
  --generate-hashes --no-emit-index-url --no-emit-find-links)
"$uv" pip compile "$here/cpu.in" --override "$here/override.txt" --override "$here/override-cpu.txt" \
  "${common[@]}" -o "$here/cpu.lock"
# without the folder of wheels: a CPU build there would be taken for the CUDA one
UV_FIND_LINKS= "$uv" pip compile "$here/cuda.in" --override "$here/override.txt" "${common[@]}" -o "$here/cuda.lock"
# the peers of the search's benchmark, with the versions of the product where they share a package
"$uv" pip compile "$here/peers.in" --constraint "$here/cpu.lock" --override "$here/override.txt" \
  --override "$here/override-cpu.txt" "${common[@]}" -o "$here/peers.lock"
# what installs them
"$uv" pip compile "$here/uv.in" "${common[@]}" -o "$here/uv.txt"
"$uv" pip compile "$here/audit.in" "${common[@]}" -o "$here/audit.lock"
"$uv" pip compile "$here/cpu-0.24.0.in" --override "$here/override.txt" --override "$here/override-cpu.txt" \
  --override "$here/override-0.24.0.txt" "${common[@]}" -o "$here/cpu-0.24.0.lock"
