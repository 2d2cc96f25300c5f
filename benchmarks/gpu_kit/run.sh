#!/usr/bin/env bash
# Tests, benchmarks and trainings on a GPU in a fixed number of seconds, without a network (see --help).
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: OUT=DIR [VARIABLE=VALUE ...] bash KIT/run.sh [--help]

Run in the root of a checkout, with a kit of benchmarks/gpu_kit/pack.sh. Makes an environment above that of python3, runs
tests/gpu, the benchmarks and a sweep, and writes what they found into $OUT as it goes: log.txt, full.txt, tests.xml,
benchmarks.tar.gz, sweep.tar.gz and up to four averaged models (*.pt.xz). What has no time left is named.

  OUT          folder of the results
  END          seconds after which everything has ended (500)
  PARTS        of "tests benchmarks sweep" (tests benchmarks)
  BENCH        of the benchmarks these alone, such as "train-base decode-base"
  TABLE        runs of the sweep, a file as of scripts/sweep.py (six models of the recipe for small corpora)
  UPDATES, TOKENS, WARMUP, LR, SCORING    of the sweep (3000, 8192, 600, 0.005, 1.25 minutes); not searched for
  DEVICE       cuda; cpu tries it all with tiny settings, SLOW=8 with eight times the limits
  PYTHON, ENVIRONMENT    python3; where to make the environment (/tmp/gpu-kit-environment)
HELP
}

fail() {
  printf 'run: %s\n' "$1" >&2
  exit 1
}

if (($#)); then
  usage
  [[ $1 == -h || $1 == --help ]] && exit 0
  fail "unknown argument $1."
fi

kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${OUT:?name a folder for the results (see --help)}" "${END:=500}" "${PARTS:=tests benchmarks}" "${DEVICE:=cuda}"
: "${PYTHON:=python3}" "${ENVIRONMENT:=/tmp/gpu-kit-environment}" "${SLOW:=1}" "${BENCH:=}"
: "${UPDATES:=3000}" "${TOKENS:=8192}" "${WARMUP:=600}" "${LR:=0.005}" "${SCORING:=1.25}"
BENCHMARKS="train-base train-tiny train-big decode-base attention-base memory length-base"

has() { [[ " $1 " == *" $2 "* ]]; }

# words NAME ALLOWED: each word of a variable is allowed; there is one space between them afterwards.
words() {
  local word of_it
  read -r -d '' -a of_it <<<"${!1}" || true
  for word in "${of_it[@]}"; do
    has "$2" "$word" || fail "$1: $word is none of: $2."
  done
  printf -v "$1" '%s' "${of_it[*]}"
}

words PARTS "tests benchmarks sweep"
words BENCH "$BENCHMARKS"
words DEVICE "cuda cpu"
[[ -n $PARTS && -n $DEVICE ]] || fail "PARTS and DEVICE must not be blank (see --help)."
for name in END SLOW UPDATES TOKENS WARMUP; do
  [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "$name: ${!name} must be a whole number, 1 or more."
done
for name in LR SCORING; do
  [[ ${!name} =~ ^[0-9]*\.?[0-9]+(e-?[0-9]+)?$ ]] || fail "$name: ${!name} must be a number."
done
[[ -z ${TABLE:-} || -r $TABLE ]] || fail "TABLE: $TABLE cannot be read."
[[ -d $kit/wheels ]] || fail "$kit is no kit of benchmarks/gpu_kit/pack.sh: it has no wheels."
SECONDS=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$OUT" "$work/benchmarks"

say() { echo "== ${SECONDS}s: $*" | tee -a "$OUT/log.txt"; }

# part SECONDS COMMAND...: for at most so many seconds, and no more than are left; nothing where fewer than 15 are.
part() {
  local most=$(($1 * SLOW)) left=$((END - SECONDS)) status=0
  shift
  if ((left < most)); then most=$left; fi
  if ((most < 15)); then
    say "NO TIME LEFT FOR: $*"
    return
  fi
  say "$* (at most $most s)"
  timeout --signal="${SIGNAL:-TERM}" --kill-after=10 "$most" "$@" > >(tee -a "$OUT/full.txt" >"$work/part") 2>&1 || status=$?
  tail -n 60 "$work/part" | grep -v -e Warning -e warnings.warn | tee -a "$OUT/log.txt" || true
  if ((status)); then say "STATUS $status: $*"; fi
}

# python3 may be in a virtual environment itself, so a .pth file names its packages.
make_environment() {
  local packages
  "$PYTHON" -m venv --without-pip "$ENVIRONMENT"
  packages=$(echo "$ENVIRONMENT"/lib/python3.*/site-packages)
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$packages" "$kit"/wheels/*.whl
  "$PYTHON" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' >"$packages/torch.pth"
  touch "$ENVIRONMENT/ready"
}

run_tests() {
  local which=() workers=8
  if [[ $DEVICE == cpu ]]; then
    which=(-k "(test_model and defaults and gradients) or (test_training and float32)") workers=1
  fi
  # At SIGINT pytest ends with a report of what it has run.
  TEST_DEVICE=$DEVICE SIGNAL=INT part 240 python3 -m pytest tests/gpu -n "$workers" -v -rfEs --durations=8 --tb=short \
    -p no:cacheprovider --junitxml="$OUT/tests.xml" "${which[@]}"
}

benchmark() { # SECONDS NAME ARGUMENT...
  local most=$1 name=$2 options=()
  shift 2
  if [[ -n $BENCH ]] && ! has "$BENCH" "$name"; then return; fi
  if [[ $DEVICE == cpu ]]; then
    set -- "$1" --quick
  elif [[ $1 != attention ]]; then
    options=(--limit "$most")
  fi
  part $((most + 30)) bash benchmarks/run.sh "$@" --device "$DEVICE" "${options[@]}" --out "$work/benchmarks/$name"
}

run_benchmarks() {
  local rows=(--only "defaults, fused_adam" "no NLL, fused_adam" defaults "no NLL")
  benchmark 50 train-base train --sizes base "${rows[@]}"
  benchmark 30 train-tiny train --sizes tiny "${rows[@]:0:3}"
  benchmark 45 train-big train --sizes big "${rows[@]}"
  benchmark 40 decode-base decode --sizes base --only defaults "no NLL"
  benchmark 90 attention-base attention --sizes base
  benchmark 40 memory memory --sizes base,big --only defaults "no NLL" "defaults, chunked loss"
  benchmark 25 length-base length --sizes base
  tar -C "$work" -czf "$OUT/benchmarks.tar.gz" benchmarks
}

# Weights that several modules share are stored several times, which LZMA notices: 20 MB become 10.
pack_models() {
  find "$work/runs" -name averaged.pt | sort | head -n 4 | while read -r model; do
    echo "$model" "$OUT/$(basename "$(dirname "$model")").pt.xz"
  done | xargs -r -P 4 -L 1 python3 -c 'import lzma, shutil, sys
with open(sys.argv[1], "rb") as model, lzma.open(sys.argv[2], "wb", preset=9) as packed:
    shutil.copyfileobj(model, packed, 1 << 20)'
}

run_sweep() {
  local table=${TABLE:-$work/table} places=() seconds=$((END - SECONDS - 40)) settings
  if [[ -z ${TABLE:-} ]]; then
    printf '%s 1\n' baseline sret sret-equal-parameters baseline-pre-norm sret-no-nll baseline-small >"$table"
  fi
  settings=(--max-update "$UPDATES" --max-tokens "$TOKENS" --update-freq 1 -- --lr "$LR" --warmup-updates "$WARMUP")
  if [[ $DEVICE == cpu ]]; then
    head -n 2 "$table" >"$work/two"
    table=$work/two settings=(--max-tokens 300 --update-freq 1 -- --max-valid-steps 2)
  fi
  mapfile -t places < <(grep -E '^[^#]' "$table" | sed "s/.*/${DEVICE/cuda/0}/")
  export RUNS=$work/runs DATA=$kit/corpus
  part $((seconds + 15)) python3 scripts/sweep.py --recipe small_corpora --table "$table" \
    --gpus "$(IFS=, && echo "${places[*]}")" --minutes "$(python3 -c "print($seconds / 60)")" \
    --scoring-minutes "$SCORING" --out "$work/sweep" -- "${settings[@]}"
  find "$work"/{sweep,runs} -type f ! -name '*.pt' ! -name '*.tmp' -size -8M -print0 |
    tar --null -T - -czf "$OUT/sweep.tar.gz" --transform "s,^${work#/}/,,"
  pack_models
}

[[ -f $ENVIRONMENT/ready ]] || make_environment
unset VENV PYTHONPATH
export VIRTUAL_ENV=$ENVIRONMENT PATH=$ENVIRONMENT/bin:$PATH
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore OMP_NUM_THREADS=1
{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || true
  nproc --all
  python3 -c 'import sys, torch, numpy, fairseq
print(sys.version, torch.__version__, numpy.__version__, fairseq.__version__, torch.cuda.is_available())'
  cat "$kit/commit"
} 2>&1 | tee -a "$OUT/log.txt"
for name in tests benchmarks sweep; do
  if has "$PARTS" "$name"; then "run_$name"; fi
done
say "end: $(cd "$OUT" && du -k -- * | tr '\n\t' '; ')"
