#!/usr/bin/env bash
# Runs go test with what the tests need: scripts/test.sh [FLAGS] [PACKAGES]. RACE=1 adds the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/needs.sh
args=(-timeout 60m)
[ -z "${RACE:-}" ] || args+=(-race)

run=()
if [ -n "${GANTRY_TEST_POSTGRES:-}" ]; then
	echo "using the PostgreSQL at GANTRY_TEST_POSTGRES" >&2
elif [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || command -v initdb >/dev/null; then
	run=(scripts/postgres.sh)
fi
exec "${run[@]}" go test "${args[@]}" "$@"
