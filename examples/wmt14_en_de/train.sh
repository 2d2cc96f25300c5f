#!/usr/bin/env bash
# Trains a named model on WMT14 En-De with the settings of train.yaml: bash examples/wmt14_en_de/train.sh --help
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/recipe/run.sh
source "$folder/../../scripts/recipe/run.sh"
recipe "$folder" train.py "$@"
