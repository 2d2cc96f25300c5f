#!/usr/bin/env bash
# A small corpus of one's own, such as Multi30k, from text to fairseq's data.
set -euo pipefail

recipe=small_corpora
read -ra languages <<<"${LANGUAGES:-en de}"
bpe_operations=10000
# shellcheck disable=SC2034 # for prepare.sh
take_bpe=yes

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/prepare/prepare.sh
source "$root/scripts/prepare/prepare.sh"

usage() {
  cat <<HELP
Usage: bash examples/small_corpora/prepare.sh --raw DIR [OPTIONS]

Prepares a small corpus, such as Multi30k: tokenised, lower-cased, joint BPE; pairs with an empty side, with more than 250
pieces or with lengths beyond 1 to 9 are dropped from the training text. Text that has BPE's marks (@@) already is taken
as it is, but for white space.

Environment variable: LANGUAGES, source and target (default: 'en de').

HELP
  options_help
}

parse_options "$@"
[[ ${#languages[@]} == 2 && ${languages[0]} != "${languages[-1]}" ]] ||
  die "LANGUAGES must be two names such as 'en de', not '${LANGUAGES:-}'."
((!${#archives[@]})) || die "there is no archive of this recipe; give the folder with the text: --raw DIR."
[[ -n $raw ]] || die "give the folder with the text: --raw DIR (see --help)."
begin

# take_segmented: the text itself as bpe/, with words apart by single spaces, and without the marks as references.
take_segmented() {
  local split language
  mkdir -p "$out/bpe"
  for split in pairs valid test; do
    for language in "${languages[@]}"; do
      step "take-$split.$language" "$out/bpe/$split.$language" -- \
        script tokenise "$out/plain/$split.$language" "$out/bpe/$split.$language" --language "$language" --tokenised
    done
  done
  make_references bpe --remove-bpe --detokenise
}

read_raw
references=original facts=(--lower-case)
if [[ $tokenised == bpe ]]; then
  tokenised=yes references=detokenised facts=() bpe_operations=0
  take_segmented
else
  for split in pairs valid test; do tokenise "$split" --lower; done
  if [[ $tokenised == yes ]]; then
    references=detokenised
    make_references tokenised --detokenise --lower
  else
    make_references plain --lower
  fi
  learn_bpe pairs
  apply_bpe pairs valid test
fi
clean bpe --longest 250 --ratio 9
# shellcheck disable=SC2119 # it needs no options of fairseq-preprocess here
binarise
describe raw "$references" ${facts[@]+"${facts[@]}"}
