#!/usr/bin/env bash
# Runs one benchmark: bash benchmarks/run.sh --help
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=
for word in "$@"; do
  case $word in
    -h | --help) python=python3 ;; # which needs no environment
  esac
done
if [[ -z $python ]]; then
  bash "$root/scripts/setup.sh"
  python=$(realpath "${VENV:-$root/.venv}")/bin/python
fi

# As in examples/quickstart.sh: without these, glibc gives the memory of every step back and the kernel clears it anew.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
export PYTHONPATH=$root:$root/scripts${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m benchmarks "$@"
