# Steps that are skipped when they were done before: source this file, call steps_begin, then step.
# shellcheck shell=bash

# hold_folder FOLDER SCRIPT: make the output folder and keep it for this run of a script alone, which has a function die.
hold_folder() {
  mkdir -p "$1" || die "--out: the folder $1 cannot be made."
  exec 9>"$1/.lock" || die "--out: the folder $1 cannot be written."
  flock -n 9 || die "another $2 is at work in $1; let it finish or end it first."
}

# steps_begin FOLDER FILE...: keep the stamps in FOLDER; what the FILEs hold decides whether old stamps still count.
steps_begin() {
  steps_folder=$1
  shift
  mkdir -p "$steps_folder"
  steps_chain=$(cat -- "$@" | cksum)
}

# step NAME OUTPUT... -- COMMAND...: run COMMAND unless it was run before, after the same steps and with the same words,
# and its OUTPUT files are still what it left. A step that is interrupted leaves no stamp and is run again. The file
# steps_result, if the script names one, is made of all outputs: it goes as soon as one of them is made anew.
step() {
  local name=$1 outputs=()
  shift
  while [[ $1 != -- ]]; do
    outputs+=("$1")
    shift
  done
  shift
  local stamp=$steps_folder/$name
  steps_chain=$(printf '%s\0' "$steps_chain" "$@" | cksum)
  if [[ -f $stamp && $(steps_checksum "${outputs[@]}" 2>/dev/null) == "$(<"$stamp")" ]]; then
    printf '\n== %s: done before, skipped\n' "$name"
    return
  fi
  printf '\n== %s\n' "$name"
  rm -f "$stamp" "$stamp.usage" ${steps_result:+"$steps_result"}
  STEP_USAGE=$stamp.usage "$@" 9>&- # the lock of hold_folder is this script's alone
  if ! steps_checksum "${outputs[@]}" >"$stamp.new"; then
    rm -f "$stamp.new"
    return 1
  fi
  mv "$stamp.new" "$stamp"
}

steps_checksum() {
  printf '%s\n' "$steps_chain" && cksum -- "$@"
}
