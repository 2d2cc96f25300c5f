#!/usr/bin/env bash
# Trains a named model on a small corpus with the settings of train.yaml: bash examples/small_corpora/train.sh --help
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/recipe.sh
source "$folder/../../scripts/recipe.sh"
recipe "$folder" train.py "$@"
