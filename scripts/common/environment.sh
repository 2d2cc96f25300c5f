# The virtual environment that a script works in: source this file, call use_environment.
# shellcheck shell=bash

environment_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
environment_path=$environment_root:$environment_root/scripts${PYTHONPATH:+:$PYTHONPATH}

# use_environment MODULE...: set `python`, an absolute path, to the interpreter of an environment where this checkout's
# package and the MODULEs can be imported: VENV if that is set, else the active one. Where it cannot, scripts/setup.sh
# makes one. From then on Python finds this checkout's package and scripts.
use_environment() {
  local folder=${VENV:-${VIRTUAL_ENV:-${CONDA_PREFIX:-}}} say=1
  # A machine without virtual environments, such as a container; that there is nothing is no news then.
  [[ -n $folder ]] || { say='' folder=$(python3 -c 'import sys; print(sys.prefix)' 2>/dev/null) || true; }
  if ! environment_serves "$folder" "$say" "$@"; then
    bash "$environment_root/scripts/setup.sh"
    folder=${VENV:-$environment_root/.venv}
  fi
  # shellcheck disable=SC2034 # for the script that calls this
  python=$(cd "$folder/bin" && pwd)/python3
  export PYTHONPATH=$environment_path
}

# wants_help ARGUMENT...: whether these ask for --help or --list, before any --. `python` is then any, since that
# needs no environment.
wants_help() {
  local argument
  for argument in "$@"; do
    case $argument in
      -h | --help | --list)
        # shellcheck disable=SC2034 # for the script that calls this
        python=python3
        return 0
        ;;
      --) return 1 ;;
    esac
  done
  return 1
}

# environment_serves FOLDER SAY MODULE...: whether the modules are there; if SAY, says what is not. An environment that
# setup.sh made from this checkout as it is now needs no look, which takes seconds.
environment_serves() {
  local folder=$1 say=$2 stamp=$1/sret_fairseq.setup file current=yes missing
  shift 2
  [[ -n $folder && -x $folder/bin/python3 ]] || return 1
  if [[ -f $stamp ]]; then
    [[ -s $stamp ]] || return 1 # being made, or left half made
    [[ $(head -n 1 "$stamp") == "checkout $environment_root" ]] || current=
    for file in setup.py constraints.txt scripts/setup.sh; do
      [[ $stamp -nt $environment_root/$file ]] || current=
    done
    [[ -z $current ]] || return 0
  fi
  missing=$(PYTHONPATH=$environment_path "$folder/bin/python3" -c '
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        sys.exit(f"{name} cannot be imported ({error})")
' sret_fairseq "$@" 2>&1 >/dev/null) && return 0
  [[ -z $say ]] || printf 'The environment %s is not used: %s.\n' "$folder" "${missing##*$'\n'}" >&2
  return 1
}
