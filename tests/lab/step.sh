#!/usr/bin/env bash
# Run one step of a make target: say what it is, then how long it took or that it failed.
#
#   tests/lab/step.sh TITLE COMMAND...
title=$1
shift
printf '== %s\n' "$title"
SECONDS=0
"$@"
status=$?
if [ "$status" -ne 0 ]; then
  printf '== %s: FAILED with exit status %s after %s s\n' "$title" "$status" "$SECONDS" >&2
  exit "$status"
fi
printf '== %s: ok, %s s\n' "$title" "$SECONDS"
