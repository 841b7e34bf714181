#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# playground_test.sh PLAYGROUND - bad input is refused in one line that names the value, the range
# and the source, with exit code 2 and nothing started; good input does the job, as text and as
# JSON; threads wait for slots. Exit code 0 if all is right.

set -uo pipefail
(($# == 1)) || {
  echo "usage: $0 PLAYGROUND" >&2
  exit 2
}
PLAYGROUND=$1
[[ -x $PLAYGROUND ]] || {
  echo "$0: $PLAYGROUND is not a program" >&2
  exit 2
}
for name in $(compgen -e GVT_); do unset "$name"; done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=0
failures=0

# fail TEXT...
fail() {
  echo "FAILED: $*"
  sed 's/^/  stdout: /' "$work/out"
  sed 's/^/  stderr: /' "$work/err"
  failures=$((failures + 1))
}

# run [VARIABLE=VALUE...] [flags]: sets code; output in out and err.
code=0
run() {
  local variables=()
  while (($#)) && [[ $1 == GVT_*=* ]]; do
    variables+=("$1")
    shift
  done
  checks=$((checks + 1))
  code=0
  timeout 120 env "${variables[@]}" "$PLAYGROUND" "$@" >"$work/out" 2>"$work/err" </dev/null ||
    code=$?
}

# bad SOURCE VALUE RANGE -- arguments of run
bad() {
  local source=$1 value=$2 range=$3 line
  shift 4
  run "$@"
  line=$(<"$work/err")
  if ((code != 2)); then
    fail "$*: exit code $code, expected 2"
  elif (($(wc -l <"$work/err") != 1)); then
    fail "$*: expected one line"
  elif [[ -s $work/out ]]; then
    fail "$*: expected nothing on stdout"
  elif [[ $line != "playground: "*"$source"*"$value"*"$range"* ]]; then
    fail "$*: expected '$source', '$value' and '$range'"
  fi
}

# ---- bad input ----

# number VARIABLE FLAG RANGE VALUES...: each value is refused, from either source.
number() {
  local variable=$1 flag=$2 range=$3 value
  shift 3
  for value in "$@" '' ' ' abc -1 +1 1x '1 ' ' 1' 0x10 1.5 1e3 99999999999999999999 \
    18446744073709551616; do
    bad "environment variable $variable" "'$value'" "$range" -- "$variable=$value"
    bad "flag $flag" "'$value'" "$range" -- "$flag=$value"
    bad "flag $flag" "'$value'" "$range" -- "$flag" "$value"
  done
  bad "flag $flag" "missing" "$range" -- "$flag"
}
number GVT_WORKERS --workers "1 to 56" 0 57 4294967297
number GVT_GVTHREADS --gvthreads "1 to 16777215" 0 16777216 4294967296 4294967297
number GVT_YIELDS --yields "0 to 4294967295" 4294967296
number GVT_SLEEP_MS --sleep-ms "0 to 3600000" 3600001
number GVT_SLOT_KB --slot-kb "16 to 1048576, a power of two" 0 8 100 16383 2097152
number GVT_SLOTS --slots "1 to 16777215" 0 16777216
number GVT_TIMEOUT_S --timeout-s "0 to 86400" 86401

for value in '' fifo Simple 'simple ' simple,lock_free; do
  bad "environment variable GVT_QUEUE" "'$value'" "simple, lock_free" -- "GVT_QUEUE=$value"
  bad "flag --queue" "'$value'" "simple, lock_free" -- --queue "$value"
  bad "environment variable GVT_GUARDS" "'$value'" "madvise, mprotect, none" -- "GVT_GUARDS=$value"
done
bad "flag --queue" "missing" "simple, lock_free" -- --queue

bad "unknown flag" "'--worker'" "--workers" -- --worker 2
bad "unknown flag" "'--json=1'" "--json" -- --json=1
bad "unknown flag" "'-w'" "--workers" -- -w 2
bad "unexpected argument" "'20000'" "--gvthreads" -- 20000
bad "flag --workers" "'--json'" "1 to 56" -- --workers --json
# A value stays in its line, and a long one is cut.
bad "flag --yields" "'1?2'" "0 to 4294967295" -- --yields $'1\n2'
bad "flag --yields" "...'" "0 to 4294967295" -- --yields "$(printf '7%.0s' {1..5000})"
# A bad variable is refused also where a flag would win.
bad "environment variable GVT_YIELDS" "'abc'" "0 to 4294967295" -- GVT_YIELDS=abc --yields 1

# Bounds of two options together: 64 TiB of stacks, and guards that cost a mapping each.
bad "flag --gvthreads" "'65536'" "1 to 65535" -- --gvthreads 65536 --slot-kb 1048576
bad "flag --slots" "'70000'" "1 to 65535" -- --slots 70000 --slot-kb 1048576
bad "environment variable GVT_GVTHREADS" "'16000000'" "1 to 4194303" -- GVT_GVTHREADS=16000000
limit=$(</proc/sys/vm/max_map_count)
if ((limit < 16000000)); then
  bad "flag --gvthreads" "'8000001'" "1 to " -- --gvthreads 8000001 --slot-kb 16 --guards mprotect
  # What the line allows is allowed, but for a few mappings that one run has more than another.
  allowed=$(($(sed 's/.*1 to //' "$work/err") - 100))
  if ((allowed < 100000)); then
    run --gvthreads "$allowed" --slot-kb 16 --guards mprotect --yields 1 --sleep-ms 0 --quiet
    ((code == 0)) || fail "as many threads as allowed, $allowed: exit code $code"
  fi
fi

# Less address space than the slots take. (Sanitizers need more themselves, and fail in another way.)
if ! grep -qE '__(asan|tsan)_init' "$PLAYGROUND"; then
  before=$(ulimit -Sv)
  ulimit -Sv 8000000
  bad "flag --gvthreads" "'2000'" "a smaller --slot-kb" -- --gvthreads 2000
  ulimit -Sv "$before"
fi

# ---- good input ----

# good VALUES -- arguments of run: VALUES are KEY=VALUE of the JSON object.
KEYS="workers gvthreads yields sleep_ms spawned started completed total_yields wall_s cpu_user_s \
cpu_sys_s switches peak_rss_kb ok"
good() {
  local wanted=()
  while [[ $1 != -- ]]; do
    wanted+=("$1")
    shift
  done
  shift
  run "$@" --json
  ((code == 0)) || fail "$*: exit code $code"
  [[ ! -s $work/err ]] || fail "$*: expected nothing on stderr"
  python3 - "$work/out" "$KEYS" "${wanted[@]}" <<'PYTHON' || fail "$*: not the expected object"
import json, sys
with open(sys.argv[1]) as file:
    text = file.read()
got = json.loads(text)
assert text.count("\n") == 1 and text.endswith("\n"), "one line"
assert list(got) == sys.argv[2].split(), list(got)
assert got["ok"] is True
for key in ("wall_s", "cpu_user_s", "cpu_sys_s"):
    assert isinstance(got[key], float) and got[key] >= 0, key
assert got["peak_rss_kb"] > 0 and got["switches"] > 0
for pair in sys.argv[3:]:
    key, value = pair.split("=")
    assert got[key] == int(value), (key, got[key], value)
PYTHON
}
good workers=2 gvthreads=500 yields=20 sleep_ms=0 spawned=500 started=500 completed=500 \
  total_yields=10000 -- GVT_WORKERS=2 GVT_GVTHREADS=500 GVT_YIELDS=20 GVT_SLEEP_MS=0
good workers=3 gvthreads=400 yields=5 sleep_ms=2 total_yields=2000 -- GVT_WORKERS=1 \
  GVT_GVTHREADS=7 --workers 3 --gvthreads=400 --yields 5 --sleep-ms=2
good workers=1 gvthreads=1 yields=0 total_yields=0 completed=1 -- --workers 1 --gvthreads 1 \
  --yields 0
for queue in simple lock_free; do
  good completed=2000 total_yields=20000 -- --queue $queue --workers 2 --gvthreads 2000 \
    --yields 10 --sleep-ms 5 --slot-kb 64
done
good completed=300 -- --guards none --gvthreads 300 --yields 3 --sleep-ms 1 --slot-kb 16
good completed=300 -- --guards mprotect --gvthreads 300 --yields 3 --sleep-ms 1 --slot-kb 16

# More threads than slots: they wait for slots, and all complete.
for workers in 1 2 4; do
  for sleep_ms in 0 1; do
    good gvthreads=1000 spawned=1000 completed=1000 total_yields=5000 -- --gvthreads 1000 \
      --slots 10 --workers $workers --yields 5 --sleep-ms $sleep_ms
  done
done
good completed=1000 -- --gvthreads 1000 --slots 1 --workers 2 --yields 2 --sleep-ms 0

run --gvthreads 50 --yields 4 --sleep-ms 1 --workers 2
((code == 0)) || fail "text: exit code $code"
for line in 'spawned +50' 'started +50' 'completed +50' 'yields +200 of 200' 'wall +[0-9.]+ s' \
  'cpu +[0-9.]+ s \(user [0-9.]+, sys [0-9.]+\)' 'switches +[0-9]+ \([0-9]+/s\)' \
  'peak rss +[0-9]+ KiB' 'SUCCESS'; do
  grep -qxE "$line" "$work/out" || fail "text: no line like '$line'"
done

run --help
((code == 0)) || fail "--help: exit code $code"
for word in --workers --gvthreads --yields --sleep-ms --slot-kb --queue --slots --json GVT_WORKERS \
  GVT_GVTHREADS GVT_YIELDS GVT_SLEEP_MS GVT_SLOT_KB GVT_QUEUE; do
  grep -q -- "$word" "$work/out" || fail "--help does not have $word"
done

# What is missing is said. The time-out stands for a storm that hangs.
run --gvthreads 10 --yields 1000 --sleep-ms 100 --timeout-s 1 --quiet
((code == 1)) || fail "time-out: exit code $code, expected 1"
grep -qx 'FAILURE: timed out, 10 completed missing, 10000 yields missing' "$work/out" ||
  fail "time-out: not the expected FAILURE"
# A log gets a progress line every 5 s.
run --gvthreads 2 --yields 7 --sleep-ms 1000 --workers 1
((code == 0)) || fail "progress: exit code $code"
grep -qx '5 s: 2 of 2 threads started, [0-9]* of 14 yields ([0-9]* %)' "$work/err" ||
  fail "progress: not the expected line"
(($(wc -l <"$work/err") == 1)) || fail "progress: expected one line"

echo "$checks runs of the playground, $failures failures"
((failures == 0))
