#!/usr/bin/env bash
# Trains and scores models of a recipe with several seeds: bash scripts/sweep.sh --help
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=python3
case " $* " in
  *' -h '* | *' --help '*) ;;
  *)
    bash "$root/scripts/setup.sh"
    python=$(realpath "${VENV:-$root/.venv}")/bin/python
    ;;
esac
exec "$python" "$root/scripts/sweep.py" "$@"
