#!/usr/bin/env bash
# Translates German into English with the model in examples/pretrained (see --help).
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash examples/translate.sh [--help] [--] ["A German sentence." ...]

Prints the English translation of each argument, or of each line of standard input, with the small model in
examples/pretrained/tatoeba_de_en. Needs the environment of scripts/setup.sh, which is made where it is missing.

  --    what follows are sentences, also those that begin with a dash: bash examples/translate.sh -- "- Ja."
HELP
}

sentences=() only_sentences=
for argument in "$@"; do
  case $only_sentences$argument in
    -h | --help)
      usage
      exit 0
      ;;
    --) only_sentences="sentence " ;;
    -*)
      printf 'translate: unknown option %s; put -- before sentences that begin with a dash (see --help).\n' "$argument" >&2
      exit 1
      ;;
    *) sentences+=("$argument") ;;
  esac
done

# shellcheck source=scripts/common/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/common/environment.sh"
model=$environment_root/examples/pretrained/tatoeba_de_en
use_environment onnx onnxruntime sentencepiece
translate=("$python" -m sret_translate "$model/model.pt" --data "$model" --sentencepiece "$model/sentencepiece.model")
if ((${#sentences[@]})); then
  printf '%s\n' "${sentences[@]}" | "${translate[@]}"
else
  exec "${translate[@]}"
fi
