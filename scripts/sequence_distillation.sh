#!/usr/bin/env bash
# Sequence-level distillation: the training text's translations by a teacher, as a data folder to train a student on.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash scripts/sequence_distillation.sh TEACHER DATA --out DIR [-- OPTIONS OF FAIRSEQ-GENERATE]

Translates the training text of DATA, a folder of fairseq-preprocess, with TEACHER, a checkpoint or several separated by
colons (Kim and Rush, 2016), and writes DIR/data-bin: each source sentence with its translation, the validation and test
sets as they are in DATA, and the same dictionaries. Train the student on it with fairseq-train as on any data folder.

Steps that an earlier run finished are skipped; an interrupted step is done again. DIR/data-bin appears when it is whole.

  --out DIR   folder of the new data, the translations and the logs
  --help      this text

The beam is 5. Options after -- go to fairseq-generate, such as --fp16 or --max-tokens 12000 (default: 4096), or
--skip-invalid-size-inputs-valid-test, which leaves out sentences that are too long for the teacher.

Environment variables: VENV, PYTHON and TORCH, see scripts/setup.sh --help.
HELP
}

die() {
  printf 'sequence_distillation: %s\n' "$*" >&2
  exit 1
}

fail() {
  tail -n 5 "$2" >&2
  die "$1 failed; the end of $2 is above."
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/common/environment.sh
source "$root/scripts/common/environment.sh"
# shellcheck source=scripts/common/steps.sh
source "$root/scripts/common/steps.sh"

out=
named=()
options=()
while (($#)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --out)
      [[ -n ${2:-} ]] || die "--out needs a folder (see --help)."
      out=$2
      shift
      ;;
    --)
      options=("${@:2}")
      break
      ;;
    -*) die "unknown option '$1'; those of fairseq-generate stand after -- (see --help)." ;;
    *) named+=("$1") ;;
  esac
  shift
done
for word in ${options[@]+"${options[@]}"}; do
  case ${word%%=*} in
    --remove-bpe | --post-process | --gen-subset | --results-path | --quiet)
      die "${word%%=*} behind -- cannot be: the translations are taken in pieces, from the log, of the training text."
      ;;
  esac
done
((${#named[@]} == 2)) || die "give the teacher's checkpoint and a data folder (see --help)."
[[ -n $out ]] || die "say where the new data go: --out DIR."
teacher=${named[0]}
data=${named[1]}

IFS=: read -ra teachers <<<"$teacher"
for file in "${teachers[@]}"; do
  [[ -f $file ]] || die "the teacher's checkpoint $file does not exist."
done
[[ -d $data ]] || die "the data folder $data does not exist."
shopt -s nullglob
indices=("$data"/train.*-*.*.idx)
((${#indices[@]} == 2)) || die "$data holds no binarised training text (train.SOURCE-TARGET.LANGUAGE.idx)."
pair=${indices[0]#"$data"/train.}
pair=${pair%%.*}
languages=("${indices[@]%.idx}")
languages=("${languages[@]##*.}")  # whose names may have hyphens
[[ $pair == "${languages[0]}-${languages[1]}" ]] || languages=("${languages[1]}" "${languages[0]}")
source_lang=${languages[0]}
target_lang=${languages[1]}
shards=("$data"/train[0-9]*."$pair".*)
((${#shards[@]} == 0)) || die "$data holds its training text in several parts (train1); join them first."
text=("$data"/train."$pair".{"$source_lang","$target_lang"}.{bin,idx})
dictionaries=("$data"/dict.{"$source_lang","$target_lang"}.txt)
for file in "${text[@]}" "${dictionaries[@]}"; do
  [[ -f $file ]] || die "$file does not exist; make the data folder again with fairseq-preprocess."
done
kept=()
for file in "$data"/*."$pair".*; do
  [[ $file == "$data"/train.* ]] || kept+=("$file")
done
new=$out/data-bin
[[ ! $data -ef $new ]] || die "--out $out: its data-bin is the data folder itself; choose another folder."
use_environment fairseq
mkdir -p "$out/steps" || die "--out $out cannot be made or written."
export PYTHONUNBUFFERED=1  # so that lines of two streams do not mix

# With a multiple of 8 sentences, the default, the last batch may be left out. The safe loading of checkpoints comes
# with the plugin.
translate() {
  "$python" -m fairseq_cli.generate "$data" --user-dir "$root/sret_fairseq" --path "$teacher" --gen-subset train \
    --source-lang "$source_lang" --target-lang "$target_lang" --beam 5 --max-tokens 4096 --num-workers 0 \
    --required-batch-size-multiple 1 ${options[@]+"${options[@]}"} 2>&1 |
    tee "$out/generate.log" |
    awk '/^H-/ && ++n % 1000 == 0 { print n " sentences translated"; fflush() }' ||
    fail "the translation of the training text" "$out/generate.log"
}

binarise() {
  rm -rf "$new.new"
  "$python" -m fairseq_cli.preprocess --source-lang "$source_lang" --target-lang "$target_lang" \
    --srcdict "$data/dict.$source_lang.txt" --tgtdict "$data/dict.$target_lang.txt" \
    --trainpref "$out/text/train" --destdir "$new.new" --workers "$(nproc)" >"$out/preprocess.log" 2>&1 ||
    fail fairseq-preprocess "$out/preprocess.log"
  ((${#kept[@]} == 0)) || cp -- "${kept[@]}" "$new.new"
  rm -rf "$new"
  mv "$new.new" "$new"
}

steps_begin "$out/steps" "${teachers[@]}" "${text[@]}" "${dictionaries[@]}" ${kept[@]+"${kept[@]}"} \
  "$root"/scripts/{sequence_distillation.sh,prepare/distilled_pairs.py}
step translate "$out/generate.log" -- translate ${options[@]+"${options[@]}"}
step pair "$out"/text/train.{"$source_lang","$target_lang"} -- \
  "$python" "$root/scripts/prepare/distilled_pairs.py" --log "$out/generate.log" --corpus "$data/train.$pair.$source_lang" \
  --source "$out/text/train.$source_lang" --target "$out/text/train.$target_lang"
step binarise "${text[@]/#"$data"/$new}" "${dictionaries[@]/#"$data"/$new}" ${kept[@]+"${kept[@]/#"$data"/$new}"} -- \
  binarise ${kept[@]+"${kept[@]}"}
printf '\nThe new data folder: %s\n' "$new"
