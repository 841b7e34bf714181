#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# replay_test.sh REPLAYER PROPERTIES - a replayer of fuzz/replay_main.cpp and kernel_properties_test
# on good and bad inputs: a malformed token or file is refused with exit code 2 and the offset of
# the first bad byte, before anything is run. Exit code 0 if all is right.

set -euo pipefail
replayer=$1
properties=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

expect() { # CODE TEXT COMMAND...
  local wanted=$1 text=$2 code=0 output
  shift 2
  output=$("$@" 2>&1) || code=$?
  if [[ $code != "$wanted" || $output != *"$text"* ]]; then
    echo "FAILED: $*: exit code $code, not $wanted, or not '$text' in: $output"
    failures=$((failures + 1))
  fi
}

# ---- tokens ----
good=00000000000100020000
expect 0 '1 inputs ran' "$replayer" --token "$good"
expect 0 '1 inputs ran' "$replayer" --token ''
expect 2 'offset 2: not a hexadecimal digit' "$replayer" --token 00zz
expect 2 'offset 0: not a hexadecimal digit' "$replayer" --token x
expect 2 'offset 4: the last digit has no partner' "$replayer" --token 00000
expect 2 'usage' "$replayer" --token
expect 2 'usage' "$replayer"
expect 2 'usage' "$replayer" --unknown
expect 0 'holds' "$properties" --token "$good"
expect 2 'offset 3: not two hexadecimal digits' "$properties" --token 000-
expect 2 'offset 5: not two hexadecimal digits' "$properties" --token 00000

# ---- files ----
printf '# a comment\n00 00\n' >"$work/good.hex"
expect 0 '1 inputs ran' "$replayer" "$work/good.hex"
printf '# a comment\n00 0g\n' >"$work/digit.hex"
expect 2 'digit.hex: offset 16: not a hexadecimal digit' "$replayer" "$work/digit.hex"
printf '00\n000 # three\n' >"$work/odd.hex"
expect 2 'odd.hex: offset 5: the last digit has no partner' "$replayer" "$work/odd.hex"
: >"$work/empty"
expect 0 '1 inputs ran' "$replayer" "$work/empty"
printf '\377\000raw' >"$work/raw"
expect 0 '1 inputs ran' "$replayer" "$work/raw"
head -c 1048577 /dev/zero >"$work/long"
expect 2 'long: offset 1048576: longer than an input may be' "$replayer" "$work/long"
expect 2 'absent: not a readable file' "$replayer" "$work/absent"
expect 2 'absent: not a readable file' "$properties" --file "$work/absent"
# A bad file in a folder stops the run and is named.
mkdir "$work/folder"
printf '0' >"$work/folder/half.hex"
expect 2 'half.hex: offset 0: the last digit has no partner' "$replayer" "$work/folder"

echo "$failures failures"
((failures == 0))
