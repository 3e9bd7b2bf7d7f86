#!/usr/bin/env bash
# Builds condensed's check of a GPU on a machine with CUDA, from a plain copy of the tree and without network or any
# library, runs it, and writes what it found into a folder: report.json, summary.txt and a log of every step.
set -uo pipefail
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<'TEXT'
etc/gpu-check.sh [--device cuda|cuda:N|cpu] [--out DIR] [--build DIR] [--program FILE] [--short] [--jobs N]
                 [--limit SECONDS]
  --device   what is checked (cuda); cpu: a dry run of everything but CUDA, with tiny shapes
  --out      folder for the results (gpu-check-results-DATE in the current folder)
  --build    folder to build in (build/gpu-check in the tree)
  --program  a condensed-gpu-check that is built already, instead of building it
  --short    fewer repetitions, and none of the largest shapes
  --jobs     compilers at once (one per processor)
  --limit    seconds that one measurement of speed may take (600)
Needs CMake 3.22, ninja or make, g++ 11, nvcc and a GPU with its driver; compute-sanitizer is used if it is there.
Exit codes: 0 everything that ran held, 1 a check failed or the program does not build, 2 usage, 3 this machine lacks something.
TEXT
}

device=cuda out='' build=$tree/build/gpu-check program='' brief='' jobs=$(nproc) limit=600
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --short) brief=--short; shift; continue ;;
    --device | --out | --build | --program | --jobs | --limit)
      [ $# -ge 2 ] || { echo "gpu-check: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --device) device=$2 ;;
        --out) out=$2 ;;
        --build) build=$2 ;;
        --program) program=$2 ;;
        --jobs) jobs=$2 ;;
        --limit) limit=$2 ;;
      esac
      shift 2 ;;
    *) echo "gpu-check: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
[[ $device =~ ^(cpu|cuda|cuda:[0-9]+)$ ]] || { echo "gpu-check: --device $device: expected cuda, cuda:N or cpu" >&2; exit 2; }
for number in "--jobs:$jobs" "--limit:$limit"; do
  [[ ${number#*:} =~ ^[1-9][0-9]{0,8}$ ]] ||
    { echo "gpu-check: ${number%%:*} ${number#*:}: expected a whole number from 1" >&2; exit 2; }
done
out=${out:-gpu-check-results-$(date +%Y%m%d-%H%M%S)}

# What the machine has.
missing=()
version_of() { "$@" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1; }
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }
need() { # NAME COMMAND LEAST
  if ! command -v "$2" >/dev/null; then
    missing+=("$1: there is no $2 on the PATH")
  elif [ -n "${3:-}" ] && ! at_least "$(version_of "$2")" "$3"; then
    missing+=("$1 $3 or later: $2 is version $(version_of "$2")")
  fi
}
find_cuda_tool() { # looks in CUDA_HOME if that is set, else on the PATH and in the usual place
  local folder
  if [ -n "${CUDA_HOME:-}" ]; then
    [ ! -x "$CUDA_HOME/bin/$1" ] || echo "$CUDA_HOME/bin/$1"
  elif command -v "$1" >/dev/null; then
    command -v "$1"
  else
    for folder in /usr/local/cuda /opt/cuda; do
      [ ! -x "$folder/bin/$1" ] || { echo "$folder/bin/$1"; return; }
    done
  fi
}

nvcc='' sanitizer='' gpus=''
if [ -z "$program" ]; then
  need CMake cmake 3.22
  need g++ g++ 11
  generator=Ninja
  if ! command -v ninja >/dev/null; then
    generator="Unix Makefiles"
    command -v make >/dev/null || missing+=("ninja or make: neither is on the PATH")
  fi
elif [ ! -x "$program" ]; then
  missing+=("the program: $program is not an executable file")
fi
if [ "$device" != cpu ]; then
  nvcc=$(find_cuda_tool nvcc)
  [ -n "$nvcc" ] || [ -n "$program" ] ||
    missing+=("nvcc: not in ${CUDA_HOME:-the PATH, /usr/local/cuda nor /opt/cuda}; install the CUDA toolkit, or set CUDA_HOME")
  sanitizer=$(find_cuda_tool compute-sanitizer)
  if ! command -v nvidia-smi >/dev/null; then
    missing+=("a GPU: there is no nvidia-smi, which comes with NVIDIA's driver")
  else
    gpus=$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader 2>&1) ||
      { missing+=("a GPU: nvidia-smi says: $(echo "$gpus" | head -n 1)"); gpus=''; }
  fi
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "gpu-check: this machine lacks:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 3
fi

mkdir -p "$out" || exit 3
out=$(cd "$out" && pwd)
rm -f "$out"/{report,checks,speeds}.json  # of an earlier run in the same folder
: >"$out/summary.txt"
say() { echo "$*" | tee -a "$out/summary.txt"; }
quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\010\013-\037' | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g' | sed ':a;N;$!ba;s/\n/\\n/g')"; }

steps='' failed=0
# Runs a step, its output in a log; notes how it ended. Exit code 77 is "skipped".
step() { # NAME COMMAND…
  local name=$1 log="$out/$1.log" started=$SECONDS outcome=passed
  shift
  echo "== $name"
  "$@" >"$log" 2>&1
  local code=$?
  case $code in
    0) ;;
    77) outcome=skipped ;;
    *) outcome=FAILED; failed=1 ;;
  esac
  say "$(printf '%-8s %-12s %5d s' "$outcome" "$name" $((SECONDS - started)))"
  if [ "$outcome" != passed ] && [ "$name" != speeds ]; then
    grep -E '^(FAILED|skipped)|rror' "$log" | head -n 12 | sed 's/^/         /' | tee -a "$out/summary.txt"
  fi
  steps+="${steps:+,}{\"name\":\"$name\",\"outcome\":\"$outcome\",\"exit_code\":$code,\"seconds\":$((SECONDS - started))}"
  return $code
}
skip() { # NAME WHY
  say "$(printf '%-8s %-12s %s' skipped "$1" "$2")"
  steps+="${steps:+,}{\"name\":\"$1\",\"outcome\":\"skipped\",\"why\":$(quoted "$2")}"
}

finish() {
  local name
  {
    printf '{"device":"%s","tree":%s,"date":"%s",' "$device" "$(quoted "$tree")" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    printf '"system":%s,"gpus":%s,' "$(quoted "$(uname -srm)")" "$(quoted "$gpus")"
    printf '"compiler":%s,' "$(quoted "$(g++ --version 2>/dev/null | head -n 1)")"
    printf '"nvcc":%s,' "$(quoted "$([ -z "$nvcc" ] || "$nvcc" --version 2>/dev/null | tail -n 2)")"
    printf '"held":%s,"steps":[%s]' "$([ $failed -eq 0 ] && echo true || echo false)" "$steps"
    for name in checks speeds; do
      if [ -s "$out/$name.json" ]; then
        printf ',"%s":' "$name"
        cat "$out/$name.json"
      fi
    done
    printf '}\n'
  } >"$out/report.json"
  if [ $failed -eq 0 ]; then
    say "Everything that ran held. Results: $out/report.json"
  else
    say "Something did not hold. Results: $out/report.json; the logs are beside it."
  fi
  exit $failed
}

say "condensed on $device${gpus:+: $gpus}"
if [ -z "$program" ]; then
  configure=(cmake -S "$tree" -B "$build" -G "$generator" -DCMAKE_BUILD_TYPE=RelWithDebInfo
    -DCONDENSED_PARTS=compute -DCONDENSED_TESTS=ON -DCONDENSED_STRICT=OFF)
  if [ "$device" = cpu ]; then
    configure+=(-DCONDENSED_CUDA=OFF)
  else
    configure+=(-DCONDENSED_CUDA=ON "-DCMAKE_CUDA_COMPILER=$nvcc")
  fi
  step configure "${configure[@]}" || finish
  if [ "$device" != cpu ] && ! grep -q 'condensed builds .*with CUDA' "$out/configure.log"; then
    say "         CMake does not build with CUDA although $nvcc is there: see configure.log"
    failed=1
    finish
  fi
  step build cmake --build "$build" --parallel "$jobs" --target condensed-gpu-check || finish
  program=$build/tests/gpu/condensed-gpu-check
fi

flags=(--device "$device" --golden "$tree/tests/golden" --limit "$limit")
[ -z "$brief" ] || flags+=("$brief")
[ "$device" != cpu ] || flags+=(--tiny --short)
code=0
step checks "$program" "${flags[@]}" --only operations,golden,streams --json "$out/checks.json" || code=$?
if [ $code -eq 77 ]; then
  say "         the program finds no device: see checks.log"
  failed=1
  finish
fi
for tool in memcheck racecheck synccheck; do
  if [ "$device" = cpu ]; then
    skip "$tool" "a dry run has no device"
  elif [ -z "$sanitizer" ]; then
    skip "$tool" "there is no compute-sanitizer beside nvcc"
  else
    step "$tool" "$sanitizer" --tool "$tool" --error-exitcode 99 \
      "$program" --device "$device" --golden "$tree/tests/golden" --short --only operations,golden,streams
  fi
done
step speeds "$program" "${flags[@]}" --only speed,batch --json "$out/speeds.json"
sed -n '/^\(passed\|FAILED\|skipped\)/p' "$out/speeds.log" | sed 's/^/         /' | tee -a "$out/summary.txt"
finish
