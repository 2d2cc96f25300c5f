#!/usr/bin/env bash
# IWSLT14 German-English, from the archive to fairseq's data.
set -euo pipefail

recipe=iwslt14_de_en
languages=(de en)
bpe_operations=10000
published=(160239 7283 6750)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/prepare/prepare.sh
source "$root/scripts/prepare/prepare.sh"

usage() {
  cat <<'HELP'
Usage: bash examples/iwslt14_de_en/prepare.sh [OPTIONS]

Prepares IWSLT14 German-English as fairseq's prepare-iwslt14.sh does: tokenised, pairs of more than 175 words or of
lengths beyond 1 to 1.5 dropped, lower-cased, every 23rd training pair for validation, five test sets of 2010 to 2012
together for testing, joint BPE. The published numbers of sentence pairs, 160,239 / 7,283 / 6,750, are checked.

HELP
  archive_help ' (de-en.tgz)'
  options_help
}

parse_options "$@"
one_archive "IWSLT14 De-En is one archive, de-en.tgz"
begin

if [[ -n $raw ]]; then
  source=raw
  read_raw
  for split in pairs valid test; do tokenise "$split" --lower; done
  clean tokenised --longest 175
else
  source=archive
  if ((!${#archives[@]})); then
    source=download
    get de-en.tgz https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz \
      https://wit3.fbk.eu/archive/2014-01/texts/de/en/de-en.tgz
  fi
  begin_steps "${archives[@]}"
  verify_inputs
  files plain pairs test
  step read "${files[@]}" -- script iwslt14 "${archives[0]}" --out "$out/plain"
  for split in pairs test; do tokenise "$split" --lower; done
  clean tokenised --longest 175 --every 23 --valid "$out/tokenised/valid" --plain "$out/plain/pairs" \
    --valid-plain "$out/plain/valid"
  for index in 0 1 2; do
    splits=(train valid test)
    expect_lines "$out/tokenised/${splits[index]}.de" "${published[index]}"
  done
fi

references=original
if [[ $tokenised == yes ]]; then
  references=detokenised
  make_references tokenised --detokenise --lower
else
  make_references plain --lower
fi
learn_bpe train
apply_bpe train valid test
# shellcheck disable=SC2119 # it needs no options of fairseq-preprocess here
binarise
describe "$source" "$references" --published "${published[@]}" --counted "$out/tokenised/"{train,valid,test}.de --lower-case
