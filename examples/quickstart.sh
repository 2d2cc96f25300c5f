#!/usr/bin/env bash
# The main job in one command: train, translate and compare two small systems on real text.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash examples/quickstart.sh [OPTIONS]

Sets up (scripts/setup.sh), gets a German-English corpus, trains a small sret_transformer and fairseq's transformer of
the same virtual depth and width, translates the held-out test set with both, and prints a table with parameters,
BLEU, chrF and speed, and sample translations. Leaves results.json and learning_curves.png in the output folder.
Steps that an earlier run finished with as many threads are skipped; an interrupted step is done again.

  --quick              a run of about 2 minutes with few updates: it shows that all works, not how well
  --source-text FILE   own text instead: one source sentence a line, UTF-8
  --target-text FILE   own text instead: the translation of each line of --source-text
  --source-lang LANG   source language (default: de)
  --target-lang LANG   target language (default: en)
  --updates N          updates of each training (default: 1200; with --quick 100)
  --vocabulary N       SentencePiece pieces of both languages together, at most (default: 4000)
  --out FOLDER         output folder (default: runs/quickstart, with --quick runs/quickstart-quick)
  --download FOLDER    where the downloaded corpus is kept (default: runs/download)
  --help               this text

Environment variables: VENV, PYTHON and TORCH, see scripts/setup.sh --help; OMP_NUM_THREADS, the number of CPU threads.
HELP
}

die() {
  printf 'quickstart: %s\n' "$*" >&2
  exit 1
}

fail() {
  tail -n 5 "$2" >&2
  die "$1 failed; the end of $2 is above."
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/common/steps.sh
source "$root/scripts/common/steps.sh"

quick=
updates=
out=
download=$root/runs/download
vocabulary=4000
source_lang=de
target_lang=en
own_text=()
while (($#)); do
  case $1 in
    --quick) quick=1 ;;
    -h | --help)
      usage
      exit
      ;;
    --source-text | --target-text | --source-lang | --target-lang | --updates | --vocabulary | --out | --download)
      [[ -n ${2:-} ]] || die "$1 needs a value (see --help)."
      case $1 in
        --source-text | --target-text) own_text+=("$1" "$2") ;;
        --source-lang) source_lang=$2 ;;
        --target-lang) target_lang=$2 ;;
        --updates) updates=$2 ;;
        --vocabulary) vocabulary=$2 ;;
        --out) out=$2 ;;
        --download) download=$2 ;;
      esac
      shift
      ;;
    *) die "unknown argument '$1' (see --help)." ;;
  esac
  shift
done
updates=${updates:-${quick:+100}}
updates=${updates:-1200}
out=${out:-$root/runs/quickstart${quick:+-quick}}
[[ $updates =~ ^[1-9][0-9]*$ ]] || die "--updates must be a whole number of at least 1, not '$updates'."
[[ $vocabulary =~ ^[1-9][0-9]*$ ]] || die "--vocabulary must be a whole number of at least 1, not '$vocabulary'."

bash "$root/scripts/setup.sh"
bin=$(realpath "${VENV:-$root/.venv}")/bin

hold_folder "$out" quickstart

# Without these, glibc gives the memory of every step back and the kernel clears it anew: on a 2-core CPU the
# transformer below trained 1.2 times as fast with them.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
# So small a model does not occupy many cores, and in a container torch may see more of them than it gets.
cores=$(nproc)
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores < 4 ? cores : 4))}

# The number format that the GPU multiplies fastest; none without a GPU.
read -ra precision < <("$bin/python" -c '
import sys
sys.path.insert(0, sys.argv[1])
from common import provenance
print(*provenance.precision(provenance.hardware()["gpus"][:1]))' "$root/scripts")
training=(--max-update "$updates" ${precision[@]+"${precision[@]}"})

# fairseq drops the sentences of a last batch that is no multiple of 8 unless told otherwise.
batches=(--required-batch-size-multiple 1 --num-workers 0)
# The safe loading of checkpoints comes with the plugin, so both systems use it.
plugin=(--user-dir "$root/sret_fairseq")
languages=("$source_lang" "$target_lang")

binarise() {
  rm -rf "$out/data-bin"
  "$bin/fairseq-preprocess" --source-lang "$source_lang" --target-lang "$target_lang" --joined-dictionary \
    --trainpref "$out/pieces/train" --validpref "$out/pieces/valid" --testpref "$out/pieces/test" \
    --destdir "$out/data-bin" >"$out/preprocess.log" 2>&1 ||
    fail fairseq-preprocess "$out/preprocess.log"
}

# script NAME ARGUMENT...: a part of this script that is written in Python.
script() { PYTHONPATH=$root/scripts "$bin/python" "$root/scripts/quickstart/$1.py" "${@:2}"; }

# train NAME MODEL_OPTION...: the same settings for every system.
train() {
  local folder=$out/$1
  rm -rf "$folder"
  mkdir -p "$folder"
  "$bin/fairseq-train" "$out/data-bin" "${plugin[@]}" "${@:2}" --share-all-embeddings --dropout 0.1 \
    --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0 \
    --lr 2.5e-3 --lr-scheduler polynomial_decay --warmup-updates $((updates / 10)) --total-num-update "$updates" \
    --max-tokens 1024 "${batches[@]}" --distributed-world-size 1 --seed 1 --no-epoch-checkpoints --save-dir "$folder" \
    --log-format json --log-interval $((updates < 20 ? updates : 20)) 2>&1 |
    tee "$folder/train.log" | script progress "$1" "$updates" ||
    fail "the training of $1" "$folder/train.log"
}

translate() {
  "$bin/fairseq-generate" "$out/data-bin" "${plugin[@]}" --path "$out/$1/checkpoint_last.pt" --gen-subset test \
    --beam 5 --max-len-a 2 --max-len-b 10 --remove-bpe sentencepiece --batch-size 64 "${batches[@]}" 2>&1 |
    tee "$out/$1/generate.log" |
    awk -v name="$1" '/^D-/ && ++n % 100 == 0 { print name ": " n " sentences translated"; fflush() }' ||
    fail "the translation with $1" "$out/$1/generate.log"
}

script corpus --source-lang "$source_lang" --target-lang "$target_lang" \
  ${own_text[@]+"${own_text[@]}"} --download "$download" --out "$out/corpus"

shopt -s globstar
steps_begin "$out/steps" "$out/corpus/corpus.json" "$root"/sret_fairseq/**/*.py "$root"/scripts/{segment.py,common/*,quickstart/*} \
  "$root/examples/quickstart.sh" "$root/constraints.txt"
step segment "$out"/pieces/{train,valid,test}."$source_lang" "$out"/pieces/{train,valid,test}."$target_lang" -- \
  "$bin/python" "$root/scripts/segment.py" --corpus "$out/corpus" --languages "${languages[@]}" \
  --vocabulary "$vocabulary" --out "$out/pieces"
step binarise "$out/data-bin/dict.$source_lang.txt" \
  "$out"/data-bin/{train,valid,test}."$source_lang-$target_lang".{"$source_lang","$target_lang"}.bin -- binarise

# Speed is that of so many threads and of this environment: with others all is measured anew.
steps_chain+=" $OMP_NUM_THREADS $(<"${bin%/bin}/sret_fairseq.setup")"
step train-sret_transformer "$out"/sret_transformer/{train.log,checkpoint_last.pt} -- \
  train sret_transformer --arch sret_transformer_tiny "${training[@]}"
step train-transformer "$out"/transformer/{train.log,checkpoint_last.pt} -- \
  train transformer --arch transformer --encoder-normalize-before --decoder-normalize-before \
  --encoder-layers 6 --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4 \
  --decoder-layers 6 --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-attention-heads 4 "${training[@]}"
for system in transformer sret_transformer; do
  step "translate-$system" "$out/$system/generate.log" -- translate "$system"
done

script report --system "transformer=$out/transformer" \
  --system "sret_transformer=$out/sret_transformer" --corpus "$out/corpus" --languages "${languages[@]}" --out "$out"
