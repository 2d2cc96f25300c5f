#!/usr/bin/env bash
# Sets up and runs the tests.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash scripts/test.sh [--all] [PYTEST ARGUMENTS]

Makes the virtual environment where it is missing or out of date (see scripts/setup.sh --help, whose environment
variables hold here too), then runs the tests on all cores, four at most: the quick ones, which take five minutes on two
cores, or every one.

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

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
venv=$(realpath "${VENV:-$root/.venv}")
cd "$root"
exec "$venv/bin/python" -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal \
  ${selection[@]+"${selection[@]}"} ${arguments[@]+"${arguments[@]}"}
