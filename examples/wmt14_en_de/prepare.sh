#!/usr/bin/env bash
# WMT14 English-German, from the archives to fairseq's data.
set -euo pipefail

recipe=wmt14_en_de
languages=(en de)
bpe_operations=32000
published=(4520620 3000 3003)
plain_size=1400000000 # bytes, nearly; the archives hold other languages too

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/prepare/prepare.sh
source "$root/scripts/prepare/prepare.sh"

usage() {
  cat <<'HELP'
Usage: bash examples/wmt14_en_de/prepare.sh [--google] [OPTIONS]

Prepares WMT14 English-German: Europarl v7, Common Crawl and News Commentary v9 (4,520,620 sentence pairs before
cleaning, which is checked), newstest2013 for validation, newstest2014 for testing. Training text gets its punctuation
normalised, all is tokenised with hyphens split off (as fairseq's prepare-wmt14en2de.sh does), joint BPE is learnt, and
training pairs of more than 250 pieces or of lengths beyond 1 to 1.5 are dropped. Takes four times the disk of the plain
text, some 5.6 GB, beside 1.7 GB of archives.

  --google               use the preprocessed archive wmt16_en_de_bpe32k instead (4,500,966 / 3,000 / 3,003 pairs,
                         tokenised and in BPE), which most published scores rest on. It lies on Google Drive (file id
                         0B_bZck-ksdkpM25jRUN2X2UxMm8), which often lets only a browser have it: fetch it by hand then
                         and give it with --archive. References are detokenised from it.
HELP
  archive_help '; several times for several.
                         A folder stands for the archives in it. Missing ones are downloaded. Names are
                         training-parallel-{europarl-v7,commoncrawl,nc-v9}.tgz, dev.tgz and test-full.tgz'
  options_help
}

google=
options=()
for word in "$@"; do
  if [[ $word == --google ]]; then google=1; else options+=("$word"); fi
done
parse_options ${options[@]+"${options[@]}"}
[[ -z $google || -z $raw ]] || die "give either --raw or --google, not both."

# given NAME: use the archive of that name from --archive.
given() {
  local path
  for path in ${given[@]+"${given[@]}"}; do
    [[ ! -d $path ]] || path=$path/$1
    if [[ -f $path && ${path##*/} == "$1" ]]; then
      archives+=("$path")
      return
    fi
  done
  return 1
}

# get_originals: the five archives, those of --archive first.
get_originals() {
  local name urls path
  local -A known=(
    [training-parallel-europarl-v7.tgz]="wmt13"
    [training-parallel-commoncrawl.tgz]="wmt13"
    [training-parallel-nc-v9.tgz]="wmt14"
    [dev.tgz]="wmt14"
    [test-full.tgz]="wmt14"
  )
  given=(${archives[@]+"${archives[@]}"})
  for path in ${given[@]+"${given[@]}"}; do
    [[ -d $path || -n ${known[${path##*/}]:-} ]] || die "--archive: $path is none of ${!known[*]}."
  done
  archives=()
  for name in training-parallel-{europarl-v7,commoncrawl,nc-v9}.tgz dev.tgz test-full.tgz; do
    urls=({https,http}"://www.statmt.org/${known[$name]}/$name")
    [[ $name != dev.tgz ]] || urls+=(https://data.statmt.org/wmt17/translation-task/dev.tgz)
    given "$name" || get "$name" "${urls[@]}"
  done
}

source=archive
((${#archives[@]})) || source=download
begin
if [[ -n $google ]]; then
  published[0]=4500966
  one_archive "with --google it is one archive, wmt16_en_de.tar.gz"
  ((${#archives[@]})) ||
    get wmt16_en_de.tar.gz 'https://drive.google.com/uc?export=download&id=0B_bZck-ksdkpM25jRUN2X2UxMm8'
  begin_steps "${archives[@]}"
  verify_inputs
  files bpe train valid test
  step read "${files[@]}" "$out/bpe/codes" -- script wmt14 "${archives[0]}" --google --out "$out/bpe"
  make_references bpe --remove-bpe --detokenise
  tokenised=yes references=detokenised counted=("$out/bpe/"{train,valid,test}.en) bpe_operations=32000
  binary=(--nwordssrc 32768 --nwordstgt 32768)
else
  if [[ -n $raw ]]; then
    source=raw
    read_raw
  else
    get_originals
    begin_steps "${archives[@]}"
    verify_inputs
    require_room 4 "$plain_size" "${archives[@]}"
    files plain pairs valid test
    step read "${files[@]}" -- script wmt14 "${archives[@]}" --out "$out/plain"
  fi
  counted=("$out/plain/"{pairs,valid,test}.en)
  binary=()
fi
if [[ -z $raw ]]; then
  for index in 0 1 2; do expect_lines "${counted[index]}" "${published[index]}"; done
fi
if [[ -z $google ]]; then
  references=original
  if [[ $tokenised == yes ]]; then
    references=detokenised
    for split in pairs valid test; do tokenise "$split"; done
    make_references tokenised --detokenise
  else
    tokenise pairs --normalise --aggressive
    for split in valid test; do tokenise "$split" --apostrophes --aggressive; done
    make_references plain
  fi
  learn_bpe pairs
  apply_bpe valid test
  apply_bpe_and_clean --longest 250
fi
binarise ${binary[@]+"${binary[@]}"}
describe "$source" "$references" --published "${published[@]}" --counted "${counted[@]}"
