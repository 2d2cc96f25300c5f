#!/usr/bin/env bash
# Gets onnxruntime-web, which the page runs a bundle with, from npm's registry.
set -euo pipefail

version=1.30.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<HELP
Usage: bash examples/web/runtime.sh [--help]

Puts the files of onnxruntime-web $version that the page needs (14 MB) into examples/web/onnxruntime-web. Needs npm. Where
they are already, nothing is done.
HELP
}

case ${1:-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    printf 'runtime: unknown argument %s (see --help).\n' "$1" >&2
    exit 1
    ;;
esac

target=$here/onnxruntime-web
if [[ -f $target/version && $(<"$target/version") == "$version" ]]; then
  printf 'runtime: %s is there already.\n' "$target" >&2
  exit 0
fi
command -v npm >/dev/null || {
  printf 'runtime: npm is needed to get onnxruntime-web; install Node.js.\n' >&2
  exit 1
}
temporary=$(mktemp -d "$here/onnxruntime-web.XXXXXX.tmp")
trap 'rm -rf "$temporary"' EXIT
(cd "$temporary" && npm pack --silent "onnxruntime-web@$version" >/dev/null) || {
  printf 'runtime: npm could not get onnxruntime-web %s, as said above.\n' "$version" >&2
  exit 1
}
tar -xzf "$temporary"/onnxruntime-web-*.tgz -C "$temporary"
mkdir "$temporary/files"
cp "$temporary"/package/dist/{ort.wasm.bundle.min.mjs,ort-wasm-simd-threaded.wasm} "$temporary/files/"
printf '%s\n' "$version" >"$temporary/files/version"
rm -rf "$target"
mv "$temporary/files" "$target"
printf 'runtime: done: %s\n' "$target" >&2
