#!/usr/bin/env bash
# Run one command under each kernel of the matrix, two guests at a time.
#
#   tests/lab/matrix.sh COMMAND...
#
# Lines carry their kernel's name. Each kernel has LIMIT seconds, so that all four end within 25 minutes;
# an hour with the long tests.
set -uo pipefail
cd "$(dirname "$0")/../.."
kernels=(5.10 6.1 6.12 7)
[ "${DMWATCH_LONG:-}" = 1 ] && usual=3600 || usual=690
limit=${LIMIT:-$usual}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM HUP

under() {
  local kernel=$1 start=$SECONDS status
  shift
  .venv/bin/python tests/lab/lab.py --kernel "$kernel" --timeout "$limit" -- "$@" 2>&1 | sed -u "s/^/[$kernel] /"
  status=$?
  echo "$status $((SECONDS - start))" >"$results/$kernel"
}

# Fetched first, so that a missing mirror shows at once.
for kernel in "${kernels[@]}"; do
  .venv/bin/python tests/lab/kernels.py "$kernel" >/dev/null || exit
done
SECONDS=0
for kernel in "${kernels[@]}"; do
  under "$kernel" "$@" &
  [ "$(jobs -rp | wc -l)" -lt 2 ] || wait -n
done
wait

failed=0
for kernel in "${kernels[@]}"; do
  read -r status took <"$results/$kernel" || status=1 took='?'
  if [ "$status" -eq 0 ]; then
    echo "== Linux $kernel: ok, $took s"
  else
    echo "== Linux $kernel: FAILED with exit status $status after $took s" >&2
    failed=1
  fi
done
exit "$failed"
