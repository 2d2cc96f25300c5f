#!/usr/bin/env bash
# Packs what a GPU machine without a network needs (see --help).
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash benchmarks/gpu_kit/pack.sh --text DIR [--out DIR] [--python 3.12] [--help]

Packs what a machine with a GPU but without a network needs beside a checkout: wheels of fairseq and of what it requires,
a corpus prepared by the recipe for small corpora, and run.sh. About a minute, 35 MB. That machine must have PyTorch,
NumPy, scikit-learn, sacreBLEU, tqdm, PyYAML, pytest and pytest-xdist.

  --text DIR      {train,valid,test}.{en,de}[.gz], as for examples/small_corpora/prepare.sh
  --out DIR       default: gpu-kit
  --python X.Y    the version of Python there
HELP
}

fail() {
  printf 'pack: %s\n' "$1" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
text='' out=gpu-kit version=3.12
while (($#)); do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --text | --out | --python)
      (($# >= 2)) || fail "$1 needs a value (see --help)."
      case $1 in
        --text) text=$2 ;;
        --out) out=$2 ;;
        *) version=$2 ;;
      esac
      shift 2
      ;;
    *) fail "unknown option $1 (see --help)." ;;
  esac
done
[[ -d $text ]] || fail "--text must name a folder with the corpus (see --help)."
[[ $version =~ ^3\.1[0-2]$ ]] || fail "--python $version is none of 3.10, 3.11 and 3.12."

# shellcheck source=scripts/common/environment.sh
source "$here/../../scripts/common/environment.sh"
use_environment fairseq
# pip takes the versions in constraints.txt that are for the Python that runs it, and those of 3.10 are others.
own=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[[ $own == "$version" || ($own != 3.10 && $version != 3.10) ]] ||
  fail "--python $version needs other versions than Python $own has, which packs; set up an environment of $version."
mkdir -p "$out/wheels"
platforms=()
for tag in manylinux_2_34 manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014; do
  platforms+=(--platform "${tag}_x86_64")
done
"$python" -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
  "${platforms[@]}" -c "$here/../../constraints.txt" -d "$out/wheels" \
  ve-fairseq hydra-core omegaconf bitarray cffi sacremoses tensorboardX protobuf subword-nmt mock
"$python" -m pip wheel -q --no-deps -c "$here/../../constraints.txt" -w "$out/wheels" \
  antlr4-python3-runtime fairscale==0.4.13
bash "$here/../../examples/small_corpora/prepare.sh" --raw "$text" --out "$out/corpus"
rm -rf "$out/corpus/plain"
cp "$here/run.sh" "$out"
git -C "$here" rev-parse HEAD >"$out/commit" || echo unknown >"$out/commit"
du -sh "$out"
