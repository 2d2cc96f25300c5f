#!/usr/bin/env bash
# Sets up and runs the tests.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash scripts/test.sh [--all] [PYTEST ARGUMENTS]

Works in the active virtual environment where it has what the tests need, else in one that it makes (see
scripts/setup.sh --help, whose environment variables hold here too). Runs the tests on all cores, four at most: the
quick ones, which take five minutes on two cores, or every one.

  --all    also the slow tests, which run whole recipes and commands (twelve minutes)

Other arguments go to pytest: bash scripts/test.sh -k causal -x, or with -n 0 to run in one process under a debugger.
HELP
}

selection=(-m 'not slow')
arguments=()
for argument in "$@"; do
  case $argument in
    -h | --help) usage; exit 0 ;;
    --all) selection=() ;;
    *) arguments+=("$argument") ;;
  esac
done

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/common/environment.sh"
use_environment filelock hypothesis matplotlib onnx onnxruntime pytest sacremoses subword_nmt tensorboardX xdist
cd "$environment_root"
exec "$python" -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal \
  ${selection[@]+"${selection[@]}"} ${arguments[@]+"${arguments[@]}"}
