#!/usr/bin/env bash
# Makes the virtual environment that everything else in this repository runs in.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bash scripts/setup.sh [--help]

Makes a virtual environment with fairseq, torch and this plugin (editable, with its extras "test", "plot", "recipes"
and "export"), at the versions of constraints.txt: 1.5 GB, several times that with a torch for GPUs. When nothing has
changed since the last run it does nothing. A set-up that was interrupted, or made from other versions of setup.py,
constraints.txt or this script, is made anew from the start. Environments of your own or of another checkout are never
touched.

You need not call it: every script of this repository calls it where the active environment (a virtual one, or conda's)
lacks what the script needs, and works in the active one otherwise.

Environment variables, of this script and of all others:
  VENV    folder of the virtual environment to work in; made where it is missing
          (default: here .venv in the repository; elsewhere the active environment, then .venv)
  PYTHON  interpreter that a virtual environment is made with, version 3.10, 3.11 or 3.12
          (default: the first on PATH that will do)
  TORCH   pip requirement for torch where a virtual environment is made
          (default: the pin of constraints.txt, as a CPU build where there is no NVIDIA GPU and such a build is to be had)

Python 3.10 takes fairseq 0.12.2, which pip compiles: it needs a C++ compiler and Python's headers.
HELP
}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

case "${1:-}" in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) die "unknown argument '$1' (see --help)." ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
stamp=$venv/sret_fairseq.setup
lock=$stamp.lock
cpu_index=https://download.pytorch.org/whl/cpu

# All that decides what the environment holds. The folders belong to it: a moved environment or checkout is broken.
# A PYTHON or TORCH that an earlier run was given still holds in a run that is given none.
fingerprint() {
  printf '%s\n' "checkout $root" "environment $venv" "torch ${TORCH:-$(sed -n 's/^torch //p' "$stamp")}"
  "$venv/bin/python" -c '' && "${PYTHON:-$venv/bin/python}" --version
  cat "$root/setup.py" "$root/constraints.txt" "$root/scripts/setup.sh" | cksum
}

runs() { "$@" >/dev/null 2>&1; }

# Runs the candidate, since a version manager's stand-in can be on PATH without a Python behind it.
suits() { runs "$1" -c 'import ensurepip, sys, venv; assert (3, 10) <= sys.version_info[:2] <= (3, 12)'; }

find_python() {
  local candidates=(python3 python3.11 python3.12 python3.10) candidate
  [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    if suits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  die "no Python 3.10, 3.11 or 3.12 with its venv module found (tried: ${candidates[*]}); install one, for example with" \
    "'apt install python3.11-venv' or 'pyenv install 3.11', and name it: PYTHON=/path/to/python3.11 bash scripts/setup.sh"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Whether pip sees this version of torch. A short time limit: where the index cannot be reached, nobody should wait.
torch_available() {
  local version=$1
  shift
  pip --timeout 5 --retries 0 index versions torch "$@" 2>/dev/null | grep -wF -- "$version" >/dev/null
}

install_torch() {
  local requirement=${TORCH:-}
  local -a index=()
  if [[ -z $requirement ]]; then
    requirement=$(grep '^torch==' "$root/constraints.txt")
    # On Linux the torch of PyPI brings gigabytes of CUDA packages, of no use without a GPU.
    if [[ $(uname -s) == Linux ]] && ! runs nvidia-smi; then
      local cpu_version=${requirement#torch==}+cpu
      if torch_available "$cpu_version"; then
        requirement=torch==$cpu_version
      elif torch_available "$cpu_version" --extra-index-url "$cpu_index"; then
        requirement=torch==$cpu_version
        index=(--extra-index-url "$cpu_index")
      else
        say "no CPU build of $requirement within reach: taking the ordinary one, which brings gigabytes of CUDA packages."
      fi
    fi
  fi
  say "installing $requirement"
  pip install "$requirement" ${index[@]+"${index[@]}"}
}

end_if_up_to_date() {
  if [[ -f $stamp && $(fingerprint 2>/dev/null) == "$(<"$stamp")" ]]; then
    say "$venv is up to date."
    exit 0
  fi
}

# Ends with a sentence if the folder holds what is not this checkout's to replace.
refuse_foreign() {
  local maker
  if [[ -e $venv && ! -f $stamp && ! -f $lock && -n $(ls -A "$venv" 2>&1) ]]; then
    die "$venv was not made by this script, which leaves it alone; install into it by hand what is missing" \
      "($venv/bin/python -m pip install '${root}[plot,recipes,export]'), or name another folder: VENV=FOLDER."
  fi
  # A checkout that was moved or copied together with its environment may make it anew: that of the copy is broken.
  maker=$(sed -n '1s/^checkout //p' "$stamp" 2>/dev/null || true)
  if [[ -n $maker && $maker != "$root" && -d $maker && $(sed -n '2s/^environment //p' "$stamp") == "$venv" ]]; then
    die "$venv belongs to the checkout $maker, which made it; name another folder: VENV=FOLDER."
  fi
}

end_if_up_to_date
refuse_foreign

python=$(find_python)
mkdir -p "$venv"
exec 9>>"$lock"
if ! flock --nonblock 9; then
  say "waiting for another set-up, or a training, that uses $venv"
  flock --timeout 900 9 || die "$venv is still in use; try again later, or name another folder: VENV=FOLDER"
  end_if_up_to_date
fi
say "making $venv with $("$python" --version) ($python): 1.5 GB, several times that with a torch for GPUs"
# Emptied first, so that whoever finds this folder half made knows whose it is and that it is not finished.
: >"$stamp"
find "$venv/" -mindepth 1 -maxdepth 1 ! -name "${stamp##*/}*" -exec rm -rf {} +
"$python" -m venv "$venv"
pip install --quiet --constraint "$root/constraints.txt" pip
install_torch

say "installing fairseq and sret_fairseq with the extras test, plot, recipes and export"
pinned=$(mktemp)
trap 'rm -f "$pinned"' EXIT
# Hold torch at what was just installed, which TORCH may have chosen.
{ grep -v '^torch==' "$root/constraints.txt"; pip list --format=freeze | grep '^torch=='; } >"$pinned"
pip install --constraint "$pinned" --editable "${root}[test,plot,recipes,export]"

fingerprint >"$stamp.new"
mv "$stamp.new" "$stamp"
say "done: source $venv/bin/activate"
