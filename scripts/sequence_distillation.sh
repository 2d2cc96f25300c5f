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
    --remove-bpe | --post-process | --path | --gen-subset | --results-path | --quiet)
      die "${word%%=*} behind -- cannot be: the teacher's translations are taken in pieces, from the log, of the training text."
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
hold_folder "$out" sequence_distillation.sh
export PYTHONUNBUFFERED=1  # so that lines of two streams do not mix

# script NAME ARGUMENT...: a part of this script that is written in Python.
script() { "$python" "$root/scripts/prepare/$1.py" "${@:2}"; }

steps_begin "$out/steps" "${teachers[@]}" "${text[@]}" "${dictionaries[@]}" ${kept[@]+"${kept[@]}"} \
  "$root"/scripts/{sequence_distillation.sh,prepare/{translate_training,distilled_pairs,binarise}.py}
step translate "$out/generate.log" -- script translate_training "$data" --teacher "$teacher" --log "$out/generate.log" -- \
  --source-lang "$source_lang" --target-lang "$target_lang" --beam 5 --max-tokens 4096 --num-workers 0 \
  ${options[@]+"${options[@]}"}
step pair "$out"/text/train.{"$source_lang","$target_lang"} -- script distilled_pairs --log "$out/generate.log" \
  --corpus "$data/train.$pair.$source_lang" --source "$out/text/train.$source_lang" --target "$out/text/train.$target_lang"
step binarise "${text[@]/#"$data"/$new}" "${dictionaries[@]/#"$data"/$new}" ${kept[@]+"${kept[@]/#"$data"/$new}"} -- \
  script binarise "$new" --log "$out/preprocess.log" --add ${kept[@]+"${kept[@]}"} -- \
  --source-lang "$source_lang" --target-lang "$target_lang" --srcdict "$data/dict.$source_lang.txt" \
  --tgtdict "$data/dict.$target_lang.txt" --trainpref "$out/text/train" --workers "$(nproc)"
printf '\nThe new data folder: %s\n' "$new"
