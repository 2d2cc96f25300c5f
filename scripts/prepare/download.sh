# Downloads that resume, try several mirrors and are only kept when they are whole: source this file, call download.
# The sourcing script provides die.
# shellcheck shell=bash

# download NAME FOLDER URL...: put NAME into FOLDER from the first URL that gives a whole gzip file, unless it is there.
download() {
  local name=$1 folder=$2 url reason=
  shift 2
  [[ ! -f $folder/$name ]] || return 0
  command -v curl >/dev/null ||
    die "curl is not installed, so $name cannot be downloaded; install it ('apt install curl'), or get the file" \
      "and name it with --archive."
  mkdir -p "$folder"
  for url in "$@"; do
    printf 'downloading %s\n' "$url"
    if download_part "$url" "$folder/$name.part"; then
      if gzip -t "$folder/$name.part" 2>/dev/null; then
        mv "$folder/$name.part" "$folder/$name"
        return
      fi
      rm -f "$folder/$name.part"
      reason="what $url gave is no whole gzip file"
    else
      reason="curl ended with status $download_status for $url"
      # 23: curl could not write. Another mirror would not help.
      ((download_status != 23)) || die "$folder/$name.part cannot be written; is there space left on the disk?"
    fi
    printf '%s\n' "$reason" >&2
  done
  die "$name could not be downloaded: $reason. Run again to resume, name another mirror (--mirror URL), or get the" \
    "file by other means and name it with --archive."
}

# download_part URL FILE: continue FILE; start it anew where the server cannot continue (33) or has no more of it (22).
download_part() {
  local progress=(--silent --show-error)
  [[ ! -t 2 ]] || progress=(--progress-bar)
  local command=(curl --fail --location --retry 3 --retry-delay 2 --connect-timeout 20 "${progress[@]}" --output "$2")
  download_status=0
  if [[ -s $2 ]]; then
    ! gzip -t "$2" 2>/dev/null || return 0
    "${command[@]}" --continue-at - "$1" || download_status=$?
    ((download_status == 22 || download_status == 33)) || return "$download_status"
    rm -f "$2"
    download_status=0
  fi
  "${command[@]}" "$1" || download_status=$?
  return "$download_status"
}

# verify_archive FILE SUM...: end with one sentence unless FILE is whole and has one of the SHA-256 sums, if given any.
verify_archive() {
  local file=$1 sum
  shift
  gzip -t "$file" 2>/dev/null || die "$file is truncated or damaged, or no gzip file: get it again."
  read -r sum _ < <(sha256sum "$file")
  printf '%s has the SHA-256 %s\n' "$file" "$sum"
  (($#)) || return 0
  [[ " ${*,,} " == *" $sum "* ]] ||
    die "$file has the SHA-256 $sum, which is not the one that was given: get it again, or mend --sha256."
}
