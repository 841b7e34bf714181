#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# clusterfuzzlite_test.sh - runs .clusterfuzzlite/build.sh as ClusterFuzzLite and OSS-Fuzz do, with
# their variables in place of their image, and looks into $OUT: each target runs its seed corpus,
# which is a zip, and has its dictionary and options. Then one target with an engine that is a
# static library with main(), as AFL++'s libAFLDriver.a is. Exit code 0 if all is right, 77 without
# the tools.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CLANG=${CLANG:-clang-19}
CLANGXX=${CLANGXX:-clang++-19}
for tool in "$CLANG" "$CLANGXX" cmake ninja zip unzip; do
  command -v "$tool" >/dev/null || {
    echo "skipped: no $tool here"
    exit 77
  }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

mkdir -p "$work/src" "$work/out" "$work/work"
ln -s "$ROOT" "$work/src/gvthread"

# As in the base image; the engine's flag is the one that it sets for libFuzzer.
instrument='-O1 -fno-omit-frame-pointer -gline-tables-only -fsanitize=address -fsanitize=fuzzer-no-link'
env -u CMAKE_GENERATOR CC="$CLANG" CXX="$CLANGXX" CFLAGS="$instrument" CXXFLAGS="$instrument" \
  LIB_FUZZING_ENGINE=-fsanitize=fuzzer SANITIZER=address FUZZING_ENGINE=libfuzzer \
  ARCHITECTURE=x86_64 SRC="$work/src" OUT="$work/out" WORK="$work/work" \
  "$ROOT/.clusterfuzzlite/build.sh" >"$work/log" 2>&1 || {
  tail -n 40 "$work/log"
  echo "FAILED: build.sh"
  exit 1
}

count=0
for source_file in "$ROOT"/fuzz/fz_*.cpp; do
  target=$(basename "$source_file" .cpp)
  count=$((count + 1))
  [[ -x $work/out/$target ]] || fail "$target is not in \$OUT"
  [[ -s $work/out/$target.dict ]] || fail "$target has no dictionary"
  if [[ -f $ROOT/fuzz/$target.options ]]; then
    [[ -s $work/out/$target.options ]] || fail "$target has no options"
  fi
  zip=$work/out/${target}_seed_corpus.zip
  if [[ ! -s $zip ]]; then
    fail "$target has no seed corpus"
    continue
  fi
  mkdir -p "$work/seeds/$target"
  unzip -q -o "$zip" -d "$work/seeds/$target"
  (cd "$work" && "out/$target" -runs=0 -dict="out/$target.dict" "seeds/$target") >"$work/log" 2>&1 ||
    {
      tail -n 20 "$work/log"
      fail "$target does not run its seed corpus"
    }
done
((count > 0)) || fail "no target at all"

"$CLANGXX" -std=c++20 -O1 -I "$ROOT" -c "$ROOT/fuzz/replay_main.cpp" -o "$work/driver.o"
ar rc "$work/libDriver.a" "$work/driver.o"
{
  env -u CMAKE_GENERATOR LIB_FUZZING_ENGINE="$work/libDriver.a" cmake -S "$ROOT" -B "$work/driver" \
    -G Ninja -DCMAKE_CXX_COMPILER="$CLANGXX" -DCMAKE_BUILD_TYPE=Release -DGVT_FUZZ=ON \
    -DGVT_TESTS=OFF -DGVT_EXAMPLES=OFF &&
    cmake --build "$work/driver" -- fz_list &&
    "$work/driver/fuzz/fz_list" "$ROOT/fuzz/corpus/fz_list"
} >"$work/log" 2>&1 || {
  tail -n 20 "$work/log"
  fail "fz_list with an engine that is a library"
}

echo "$count targets, $failures failures"
((failures == 0))
