#!/usr/bin/env bash
# Quality and speed of one checkpoint by the number of passes.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash scripts/depth_report.sh CHECKPOINT DATA [OPTIONS] [-- OPTIONS OF FAIRSEQ-GENERATE]

Translates a set of DATA, a folder of fairseq-preprocess, with the first 1, 2, ... passes of a sret_transformer, up to
all that were trained, and prints BLEU and sentences/s of each, so that a depth can be picked for a latency. P passes
mean P in the encoder and P in the decoder; a side that was trained with fewer runs all of its own.

  --passes P1,P2,...  only these numbers of passes
  --subset NAME       part of DATA (default: test)
  --out DIR           folder of depths.json, depths.csv, depths.png and fairseq-generate's logs
                      (default: depths beside CHECKPOINT)
  --help              this text

What is after -- goes to fairseq-generate (default: --beam 5), after --remove-bpe --batch-size 128; with text in pieces
of SentencePiece give -- --beam 5 --remove-bpe sentencepiece, or BLEU is that of the pieces. To use the picked depth:
fairseq-generate ... --model-overrides "{'encoder_recursions': P, 'decoder_recursions': P}".

Environment variables: VENV, PYTHON and TORCH, see scripts/setup.sh --help.
HELP
}

for word in "$@"; do
  case $word in
    -h | --help)
      usage
      exit
      ;;
    --) break ;;
  esac
done
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
exec "$(realpath "${VENV:-$root/.venv}")/bin/python" "$root/scripts/depth_report.py" "$@"
