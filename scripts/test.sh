#!/usr/bin/env bash
# Sets up and runs the tests.
set -euo pipefail

case "${1:-}" in
  -h | --help)
    cat <<'HELP'
Usage: bash scripts/test.sh [PYTEST ARGUMENTS]

Makes the virtual environment where it is missing or out of date (see scripts/setup.sh --help, whose environment
variables hold here too), then runs the tests. Arguments go to pytest: bash scripts/test.sh -k causal -x
HELP
    exit 0
    ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
venv=$(realpath "${VENV:-$root/.venv}")
cd "$root"
exec "$venv/bin/python" -m pytest "$@"
