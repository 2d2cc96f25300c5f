# What the recipes' prepare.sh share: options, and the steps from plain text to fairseq's data. Source this file.
# The sourcing script sets root, recipe, languages and bpe_operations, and defines usage.
# shellcheck shell=bash

: "${root:?}" "${recipe:?}" "${languages[0]:?}" "${bpe_operations:?}"

# shellcheck source=scripts/common/environment.sh
source "$root/scripts/common/environment.sh"
# shellcheck source=scripts/common/steps.sh
source "$root/scripts/common/steps.sh"
# shellcheck source=scripts/prepare/download.sh
source "$root/scripts/prepare/download.sh"

die() {
  printf 'prepare: %s\n' "$*" >&2
  exit 1
}

# The options of recipes that have an archive of their own; $1: its name.
archive_help() {
  cat <<HELP
  --archive FILE         use this archive instead of downloading$1
  --mirror URL           download NAME from URL/NAME; may be given several times
  --sha256 SUM           refuse an archive with another SHA-256; give one for each archive
  --any-size             do not insist on the published numbers of lines
HELP
}

options_help() {
  cat <<HELP
  --raw DIR              take your own text: DIR holds {train,valid,test}.{${languages[0]},${languages[1]}},
                         one sentence a line, each may be gzipped (.gz). Tokenised text is recognised and not tokenised
                         again. Unfit training pairs are dropped from it too
  --tokenised yes|no     whether the text of --raw is tokenised, instead of looking at it
  --out DIR              folder to write (default: \$DATA, or data/$recipe in the repository)
  --help                 this text

Environment variables: VENV, PYTHON and TORCH, see scripts/setup.sh --help; DATA, the output folder; WORKERS, the number
of processes (default: all cores); BPE_OPERATIONS (default: $bpe_operations); MOSES, a folder of mosesdecoder whose Perl
scripts are used instead of sacremoses; for downloads MIRRORS and SHA256, lists separated by spaces, like --mirror and
--sha256.

Says how much disk it needs before it starts, and after a long step what that took.
Writes into the output folder: data-bin/ for fairseq (joined dictionary), bpe/ (the same as text, and the BPE codes),
reference/ (plain text of valid and test for sacreBLEU) and prepare.json (what was done). download/, plain/, tokenised/
and steps/ serve to continue: a step whose verified output is there is skipped, an interrupted one is done again.
HELP
}

parse_options() {
  archives=() raw='' tokenised='' any_size='' take_bpe=${take_bpe:-}
  out=${DATA:-$root/data/$recipe}
  read -ra mirrors <<<"${MIRRORS:-}"
  read -ra sums <<<"${SHA256:-}"
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit
        ;;
      --any-size) any_size=1 ;;
      --archive | --raw | --tokenised | --out | --mirror | --sha256)
        [[ -n ${2:-} ]] || die "$1 needs a value (see --help)."
        case $1 in
          --archive) archives+=("$2") ;;
          --raw) raw=$2 ;;
          --tokenised) tokenised=$2 ;;
          --out) out=$2 ;;
          --mirror) mirrors+=("$2") ;;
          --sha256) sums+=("$2") ;;
        esac
        shift
        ;;
      *) die "unknown argument '$1' (see --help)." ;;
    esac
    shift
  done
  bpe_operations=${BPE_OPERATIONS:-$bpe_operations}
  export WORKERS=${WORKERS:-$(nproc)}
  check_options
}

check_options() {
  local archive
  [[ $tokenised =~ ^(yes|no)?$ ]] || die "--tokenised must be yes or no, not '$tokenised'."
  [[ -z $tokenised || -n $raw ]] || die "--tokenised belongs to --raw."
  [[ -z $raw || ${#archives[@]} -eq 0 ]] || die "give either --raw or --archive, not both."
  [[ -z $raw || -d $raw ]] || die "--raw: $raw is not a folder."
  for archive in ${archives[@]+"${archives[@]}"}; do
    [[ -e $archive ]] || die "--archive: $archive does not exist."
  done
  [[ $bpe_operations =~ ^[1-9][0-9]*$ ]] ||
    die "BPE_OPERATIONS must be a whole number of at least 1, not '$bpe_operations'."
  [[ $WORKERS =~ ^[1-9][0-9]*$ ]] || die "WORKERS must be a whole number of at least 1, not '$WORKERS'."
}

# Sets up, takes the output folder for this run alone, and works with absolute paths from here on.
begin() {
  use_environment sacremoses subword_nmt
  hold_folder "$out" prepare.sh
  out=$(realpath "$out")
  # Each process here has a core of its own; more threads in it would be in each other's way.
  export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TQDM_MININTERVAL=5
}

# script NAME ARGUMENT...: one of the Python scripts of this repository.
script() { "$python" "$root/scripts/prepare/$1.py" "${@:2}"; }

# one_archive WHAT: end unless --archive names one file at most, which is WHAT.
one_archive() {
  ((${#archives[@]} < 2)) || die "give --archive once: $1."
  [[ -z ${archives[0]:-} || -f ${archives[0]} ]] || die "--archive: ${archives[0]} is a folder; name the file: $1."
}

# get NAME URL...: download an archive, from the user's mirrors if there are any, and use it.
get() {
  local name=$1 urls=("${@:2}")
  ((!${#mirrors[@]})) || urls=("${mirrors[@]/%//$name}")
  download "$name" "$out/download" "${urls[@]}" 9>&- # the lock is this script's alone
  archives+=("$out/download/$name")
}

# begin_steps INPUT...: what is done from here on depends on these files, on the options, and on the scripts.
begin_steps() {
  inputs=("$@")
  # shellcheck disable=SC2034 # for step: there is none as long as the folder is half prepared
  steps_result=$out/prepare.json
  steps_begin "$out/steps" "${inputs[@]}" "$0" "$root/constraints.txt" \
    "$root/scripts/"{prepare,common}/*.{py,sh}
}

verify_inputs() {
  # shellcheck disable=SC2034 # for step: these make nothing, so what was prepared stays
  local archive chain steps_result=
  for archive in "${inputs[@]}"; do
    # Checksums that are given later are looked at, but are no reason to prepare the same archive again.
    chain=$steps_chain
    step "verify-${archive##*/}" "$archive" -- verify_archive "$archive" ${sums[@]+"${sums[@]}"}
    steps_chain=$chain
  done
}

# require_room TIMES MOST FILE...: end unless the disk has room for TIMES the plain text that is in these files, gzipped
# or not, and is of MOST bytes at most.
require_room() {
  local times=$1 most=$2 plain=0 size file needed used free
  for file in "${@:3}"; do
    size=$(wc -c <"$file")
    # Of a damaged file a later step says so.
    [[ $file != *gz ]] || size=$({ gzip -l -- "$file" 2>/dev/null || true; } | awk 'NR == 2 { n = $2 } END { print n + 0 }')
    plain=$((plain + size))
  done
  ((plain < most)) || plain=$most
  needed=$((times * plain / 1000000))
  used=$({ du -cks "$out"/{plain,tokenised,bpe,data-bin} 2>/dev/null || true; } | awk 'END { print int($1 / 976.6) }')
  free=$(df -Pk "$out" | awk 'NR == 2 { print int($4 / 976.6) }')
  printf '\nDisk: %d MB in %s, of which %d MB lie there already; %d MB are free.\n' "$needed" "$out" "$used" "$free"
  ((needed <= used + free)) ||
    die "the disk of $out has $free MB free and $((needed - used)) are needed; make room, or name another folder (--out)."
}

# files FOLDER SPLIT...: the names of both languages' files, in the array of that name.
files() {
  local split language
  files=()
  for split in "${@:2}"; do
    for language in "${languages[@]}"; do files+=("$out/$1/$split.$language"); done
  done
}

# find_raw DIR: its six files, gzipped or not.
find_raw() {
  local name file
  files=()
  for name in {train,valid,test}.{"${languages[0]}","${languages[1]}"}; do
    for file in "$1/$name" "$1/$name.gz"; do
      [[ ! -f $file ]] || break
    done
    [[ -f $file ]] || die "--raw: $1 has neither $name nor $name.gz."
    files+=("$file")
  done
}

read_raw() {
  find_raw "$raw"
  begin_steps "${files[@]}"
  require_room 5 $((10 ** 15)) "${files[@]}"
  files plain pairs valid test
  step read "${files[@]}" "$out/plain/tokenised" -- script raw_text "$raw" --languages "${languages[@]}" \
    ${tokenised:+--tokenised "$tokenised"} ${take_bpe:+--take-bpe} --out "$out/plain"
  read -r tokenised <"$out/plain/tokenised"
}

# tokenise SPLIT OPTION...: plain/SPLIT of both languages to tokenised/SPLIT; tokenised text is only put in order.
tokenise() {
  local split=$1 language
  shift
  [[ $tokenised != yes ]] || set -- --tokenised "$@"
  for language in "${languages[@]}"; do
    step "tokenise-$split.$language" "$out/tokenised/$split.$language" -- tokenise_with "${MOSES:-}" \
      "$out/plain/$split.$language" "$out/tokenised/$split.$language" --language "$language" "$@"
  done
}

# Names Moses' folder among a step's words, so that the text is tokenised anew when it changes.
tokenise_with() { MOSES=$1 script tokenise "${@:2}"; }

# make_references FOLDER OPTION...: FOLDER/{valid,test} to reference/{valid,test}.
make_references() {
  local folder=$1 split language
  shift
  for split in valid test; do
    for language in "${languages[@]}"; do
      step "reference-$split.$language" "$out/reference/$split.$language" -- script reference \
        "$out/$folder/$split.$language" "$out/reference/$split.$language" --language "$language" "$@"
    done
  done
}

# clean FOLDER OPTION...: FOLDER/pairs to FOLDER/train, without unfit pairs.
clean() {
  files "$1" train
  [[ " $* " != *" --every "* ]] || files+=("$out/"{tokenised,plain}"/valid."{"${languages[0]}","${languages[1]}"})
  step clean "${files[@]}" -- script clean_pairs "$out/$1/pairs" --languages "${languages[@]}" --train "$out/$1/train" \
    "${@:2}"
}

# learn_bpe SPLIT: the codes, on both languages of tokenised/SPLIT.
learn_bpe() {
  files tokenised "$1"
  step learn-bpe "$out/bpe/codes" -- script bpe learn --operations "$bpe_operations" "${files[@]}" "$out/bpe/codes"
}

# apply_bpe SPLIT...: tokenised/SPLIT to bpe/SPLIT.
apply_bpe() {
  local split language
  for split in "$@"; do
    for language in "${languages[@]}"; do
      step "apply-bpe-$split.$language" "$out/bpe/$split.$language" -- script bpe apply "$out/bpe/codes" \
        "$out/tokenised/$split.$language" "$out/bpe/$split.$language"
    done
  done
}

# apply_bpe_and_clean OPTION...: tokenised/pairs to bpe/train, without pairs that are unfit then.
apply_bpe_and_clean() {
  files bpe train
  step apply-bpe-train "${files[@]}" -- script bpe train "$out/bpe/codes" "$out/tokenised/pairs" "$out/bpe/train" \
    --languages "${languages[@]}" "$@"
}

# binarise OPTION...: bpe/ to data-bin/.
binarise() {
  local pair=${languages[0]}-${languages[1]}
  step binarise "$out/data-bin/dict."{"${languages[0]}","${languages[1]}"}.txt \
    "$out/data-bin/"{train,valid,test}".$pair."{"${languages[0]}","${languages[1]}"}.{bin,idx} -- \
    script binarise "$out/data-bin" --log "$out/preprocess.log" -- --source-lang "${languages[0]}" \
    --target-lang "${languages[1]}" --joined-dictionary --trainpref "$out/bpe/train" --validpref "$out/bpe/valid" \
    --testpref "$out/bpe/test" "$@"
}

# expect_lines FILE NUMBER: warn when FILE has nearly that many lines, end when it is far off, unless --any-size.
expect_lines() {
  local found
  found=$(wc -l <"$1")
  ((found != $2)) || return 0
  [[ -z $any_size ]] || return 0
  local difference=$((found > $2 ? found - $2 : $2 - found))
  ((difference * 1000 < $2)) ||
    die "$1 has $found lines instead of the published $2: this is not the published data (--any-size takes it anyway)."
  printf 'prepare: WARNING: %s has %d lines, the published data %d: scores compare only nearly.\n' \
    "$1" "$found" "$2" >&2
}

# describe SOURCE REFERENCES OPTION...: write prepare.json.
describe() {
  local tokeniser=sacremoses
  [[ -z ${MOSES:-} ]] || tokeniser="Moses ($MOSES)"
  [[ $tokenised != yes ]] || tokeniser="none: the text was tokenised"
  step describe "$out/prepare.json" -- script describe_data "$out" --recipe "$recipe" --languages "${languages[@]}" \
    --source "$1" --references "$2" --files "${inputs[@]}" --bpe-operations "$bpe_operations" \
    --tokeniser "$tokeniser" "${@:3}"
  printf '\nThe data is in %s\n' "$out"
}
