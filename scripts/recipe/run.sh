# Runs a recipe's training or evaluation: source this file, call recipe.
# shellcheck shell=bash

# recipe FOLDER PROGRAM WORD...: run scripts/recipe/PROGRAM for the recipe in FOLDER with the environment's Python, after
# setting that up where it is missing or out of date. Only --help and --list do without.
recipe() {
  local folder=$1 program=$2 root word python=
  shift 2
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  for word in "$@"; do
    case $word in
      -h | --help | --list) python=python3 ;;
      --) break ;;
    esac
  done
  if [[ -z $python ]]; then
    bash "$root/scripts/setup.sh"
    python=$(realpath "${VENV:-$root/.venv}")/bin/python
  fi
  PYTHONPATH=$root/scripts${PYTHONPATH:+:$PYTHONPATH} exec "$python" "$root/scripts/recipe/$program" --recipe "$folder" "$@"
}
