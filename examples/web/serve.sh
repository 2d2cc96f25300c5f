#!/usr/bin/env bash
# Serves the page, with the small German-English model where there is no other bundle (see --help).
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash examples/web/serve.sh [--port PORT] [--help]

Gets onnxruntime-web with runtime.sh, exports the model of examples/pretrained to examples/web/bundle in 8 bits unless a
bundle is there, and serves the page on http://localhost:8000, or another PORT, to this machine alone. Ctrl-C ends it.
HELP
}

die() {
  printf 'serve: %s\n' "$*" >&2
  exit 1
}

port=8000
while (($#)); do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --port)
      if [[ ! ${2:-} =~ ^[1-9][0-9]{0,4}$ ]] || (($2 > 65535)); then die "--port needs a number from 1 to 65535."; fi
      port=$2
      shift 2
      ;;
    *) die "unknown argument $1 (see --help)." ;;
  esac
done

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common/environment.sh"
use_environment onnx onnxruntime
web=$environment_root/examples/web
model=$environment_root/examples/pretrained/tatoeba_de_en
bash "$web/runtime.sh"
[[ -f $web/bundle/config.json ]] ||
  "$python" "$environment_root/scripts/export_onnx.py" "$model/model.pt" "$model" --int8 --out "$web/bundle"
exec "$python" -m http.server "$port" --bind 127.0.0.1 --directory "$web"
