#!/usr/bin/env bash
# Runs a command with a throw-away PostgreSQL: scripts/postgres.sh COMMAND [ARGS...]
#
# The server listens on a unix socket and a free port of 127.0.0.1, keeps nothing, and is gone afterwards, also when the command
# fails or is interrupted. The command finds its address in GANTRY_TEST_POSTGRES. initdb refuses root, so as root the server runs
# as the user postgres.
set -euo pipefail

die() {
	echo "postgres.sh: $*" >&2
	exit 3
}

[ $# -gt 0 ] || die "give a command to run"

# The newest installed version.
bin=$(find /usr/lib/postgresql -maxdepth 2 -type d -name bin 2>/dev/null | sort -V | tail -n 1)
if [ -z "$bin" ]; then
	initdb=$(command -v initdb) || die "PostgreSQL is not installed (apt-get install postgresql)"
	bin=$(dirname "$initdb")
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/gantry-pg-XXXXXX")
as=()
if [ "$(id -u)" = 0 ]; then
	id postgres >/dev/null 2>&1 || die "as root the user postgres is needed"
	chown postgres "$dir"
	as=(runuser -u postgres --)
fi

# shellcheck disable=SC2317 # called by the trap
stop() {
	"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The user postgres may not be able to enter the directory this was called from.
(cd / && "${as[@]}" "$bin/initdb" -D "$dir/data" -U gantry -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1) ||
	die "initdb: $(tail -n 3 "$dir/initdb.log")"

# Tests trade durability for speed; figures must not.
durable="-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
[ -z "${GANTRY_TEST_POSTGRES_DURABLE:-}" ] || durable=

# A port may be taken between the look and the start: try a few.
for _ in 1 2 3 4 5; do
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	if (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -w -t 60 -o "-c listen_addresses=127.0.0.1 -c port=$port \
		-c unix_socket_directories=$dir $durable -c max_connections=400 -c shared_buffers=64MB" start >/dev/null 2>&1); then
		started=1
		break
	fi
done
[ -n "${started:-}" ] || die "the server doesn't start: $(tail -n 5 "$dir/data/log" 2>/dev/null)"

export GANTRY_TEST_POSTGRES="postgres://gantry@127.0.0.1:$port/postgres?sslmode=disable"
# Where the server is and how to stop and start it, for tests that take it away for a while.
export GANTRY_TEST_POSTGRES_DATA="$dir/data" GANTRY_TEST_POSTGRES_BIN="$bin"
status=0
"$@" || status=$?
exit "$status"
