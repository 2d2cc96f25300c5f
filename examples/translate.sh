#!/usr/bin/env bash
# Translates German into English with the model in examples/pretrained (see --help).
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash examples/translate.sh ["A German sentence." ...] [--help]

Prints the English translation of each argument, or of each line of standard input, with the small model in
examples/pretrained/tatoeba_de_en. Needs the environment of scripts/setup.sh, which is made where it is missing.
HELP
}

for argument in "$@"; do
  case $argument in
    -h | --help)
      usage
      exit 0
      ;;
    -*)
      printf 'translate: unknown option %s; give sentences, or lines on standard input (see --help).\n' "$argument" >&2
      exit 1
      ;;
  esac
done

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/common/environment.sh"
model=$environment_root/examples/pretrained/tatoeba_de_en
use_environment onnx onnxruntime sentencepiece
translate=("$python" -m sret_translate "$model/model.pt" --data "$model" --sentencepiece "$model/sentencepiece.model")
if (($#)); then
  printf '%s\n' "$@" | "${translate[@]}"
else
  exec "${translate[@]}"
fi
