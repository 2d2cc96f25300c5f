#!/usr/bin/env bash
# The main job in one command: train, translate and compare two small systems on real text (see --help).
set -euo pipefail

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/common/environment.sh"
wants_help "$@" || use_environment matplotlib sacrebleu sentencepiece

# Without these, glibc gives the memory of every step back and the kernel clears it anew: on a 2-core CPU fairseq's
# transformer trained 1.2 times as fast with them.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
PYTHONPATH=$environment_path exec "$python" "$environment_root/scripts/quickstart/run.py" "$@"
