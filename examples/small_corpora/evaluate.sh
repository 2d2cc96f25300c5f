#!/usr/bin/env bash
# Translates and scores runs of train.sh: bash examples/small_corpora/evaluate.sh --help
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/recipe/run.sh
source "$folder/../../scripts/recipe/run.sh"
recipe "$folder" evaluate.py --generate='--beam 5' "$@"
