#!/usr/bin/env bash
# Translates and scores runs of train.sh: bash examples/wmt14_en_de/evaluate.sh --help
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/recipe/run.sh
source "$folder/../../scripts/recipe/run.sh"
# Beam, length penalty and limit of length are those of Vaswani et al.
recipe "$folder" evaluate.py --generate='--beam 4 --lenpen 0.6 --max-len-a 1 --max-len-b 50' \
  --sacrebleu-set wmt14/full --compound-split "$@"
