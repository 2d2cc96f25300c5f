# Runs a recipe's training or evaluation: source this file, call recipe.
# shellcheck shell=bash

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../common/environment.sh"

# recipe FOLDER PROGRAM ARGUMENT...: run scripts/recipe/PROGRAM for the recipe in FOLDER.
recipe() {
  local folder=$1 program=$2 python
  shift 2
  local -A needs=([train.py]=tensorboardX [evaluate.py]=sacremoses)
  wants_help "$@" || use_environment "${needs[$program]}"
  PYTHONPATH=$environment_path exec "$python" "$environment_root/scripts/recipe/$program" --recipe "$folder" "$@"
}
