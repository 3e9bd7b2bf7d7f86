#!/usr/bin/env bash
# Cross-compiles what computes a model for AArch64 and runs its tests in qemu-user (preset aarch64). Exit codes: 0 they
# passed, 77 skipped, with the reason: ctest shows it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null || missing+=(qemu-user-static)
[ -d /usr/src/googletest ] || missing+=(googletest)
if [ "${CONDENSED_CHECK_AARCH64:-0}" != 1 ]; then
  echo "skipped: takes several minutes of processor time; CONDENSED_CHECK_AARCH64=1 in the environment asks for it"
  exit 77
elif [ ${#missing[@]} -gt 0 ]; then
  echo "skipped: needs ${missing[*]} (Debian's packages)"
  exit 77
fi
cmake --preset aarch64
cmake --build --preset aarch64 --parallel "$(nproc)"
ctest --preset aarch64
