#!/bin/bash -eu
# SPDX-License-Identifier: MIT
#
# build.sh - builds every fuzz target for ClusterFuzzLite and OSS-Fuzz, which set $CC $CXX $CFLAGS
# $CXXFLAGS $LIB_FUZZING_ENGINE $SRC $OUT (and $WORK). For each target $OUT gets the program, its
# seed corpus, its dictionary and its options. tests/cli/clusterfuzzlite_test.sh runs this.
set -o pipefail

source_dir=$SRC/gvthread
build_dir=${WORK:-$SRC}/gvthread-build

# The instrumentation, and how far to optimise, is in $CFLAGS and $CXXFLAGS; CMake takes them, and
# the compilers, from the environment, and fuzz/CMakeLists.txt takes $LIB_FUZZING_ENGINE. A build
# type would add flags of its own.
cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=None \
  -DGVT_FUZZ=ON -DGVT_TESTS=OFF -DGVT_EXAMPLES=OFF -DGVT_WERROR=OFF
targets=()
for source_file in "$source_dir"/fuzz/fz_*.cpp; do
  target=$(basename "$source_file" .cpp)
  targets+=("$target")
done
cmake --build "$build_dir" -j "$(nproc)" -- "${targets[@]}"

for target in "${targets[@]}"; do
  cp "$build_dir/fuzz/$target" "$OUT/"
  cp "$source_dir/fuzz/gvt.dict" "$OUT/$target.dict"
  if [[ -f $source_dir/fuzz/$target.options ]]; then
    cp "$source_dir/fuzz/$target.options" "$OUT/"
  fi
  # Old finds are good seeds too.
  rm -f "$OUT/${target}_seed_corpus.zip"
  find "$source_dir/fuzz/corpus/$target" "$source_dir/fuzz/regressions/$target" \
    -type f ! -name README.md 2>/dev/null | sort | zip -q -j -@ "$OUT/${target}_seed_corpus.zip"
done
