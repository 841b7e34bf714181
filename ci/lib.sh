# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# lib.sh - what the scripts of this folder share; sourced, never run. Sourcing it enters the
# repository's root.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
JOBS=${JOBS:-$(nproc)}

die() {
  echo "${0##*/}: $*" >&2
  exit 2
}

# The packages of the given sections of ci/packages.
packages_of() {
  awk -v wanted=" $* " '
    /^##/ { take = index(wanted, " " $2 " ") > 0; next }
    take && NF && !/^#/ { print $1 }' ci/packages
}

# Installs what is missing of the given sections. Silent if nothing is.
install_packages() {
  local package missing=() become=() log
  if ! command -v dpkg-query >/dev/null; then
    echo "${0##*/}: no Debian system: expecting to find: $(packages_of "$@" | tr '\n' ' ')" >&2
    return
  fi
  for package in $(packages_of "$@"); do
    # shellcheck disable=SC2016  # the format is dpkg-query's, not the shell's
    if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
      missing+=("$package")
    fi
  done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null ||
      die "these packages are missing, and installing them needs root or sudo: ${missing[*]}"
    become=(sudo)
  fi
  echo "installing: ${missing[*]}" >&2
  log=$(mktemp)
  if ! {
    "${become[@]}" apt-get update &&
      "${become[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "could not install: ${missing[*]}"
  fi
  rm -f "$log"
}

# Go from the path, else Debian's.
install_go() {
  command -v go >/dev/null || install_packages go
}

# build_preset PRESET [cmake options] [-- build options]: configures and builds build/PRESET.
build_preset() {
  local preset=$1 options=()
  shift
  while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  (($# == 0)) || shift
  cmake --preset "$preset" "${options[@]}"
  cmake --build "build/$preset" -j "$JOBS" "$@"
}

# The same without output, unless it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
