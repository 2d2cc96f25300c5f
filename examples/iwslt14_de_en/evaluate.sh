#!/usr/bin/env bash
# Translates and scores runs of train.sh: bash examples/iwslt14_de_en/evaluate.sh --help
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/recipe/run.sh
source "$folder/../../scripts/recipe/run.sh"
# Beam 5 and no length penalty are what published scores use; the limit of length is that of Vaswani et al.
recipe "$folder" evaluate.py --generate='--beam 5 --lenpen 1 --max-len-a 1 --max-len-b 50' "$@"
