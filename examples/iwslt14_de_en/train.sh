#!/usr/bin/env bash
# Trains a named model on IWSLT14 De-En with the settings of train.yaml: bash examples/iwslt14_de_en/train.sh --help
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/recipe/run.sh
source "$folder/../../scripts/recipe/run.sh"
recipe "$folder" train.py "$@"
