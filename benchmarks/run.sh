#!/usr/bin/env bash
# Runs one benchmark: bash benchmarks/run.sh --help
set -euo pipefail

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/common/environment.sh"
wants_help "$@" || use_environment matplotlib

# As in examples/quickstart.sh: without these, glibc gives the memory of every step back and the kernel clears it anew.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
PYTHONPATH=$environment_path exec "$python" -m benchmarks "$@"
