#!/usr/bin/env bash
# The main job in one go: a server with an embedded database in a temporary directory, this repository, and a session that clones
# it in the sandbox, vets and tests one package, and hands over a structured result and a file. Needs no network and no model, and
# leaves nothing running.
set -euo pipefail

package=${DEMO_PACKAGE:-./internal/platform/fault}
root=$(cd "$(dirname "$0")/.." && pwd)
gantry=$root/bin/gantry

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
die() {
	echo "demo: $*" >&2
	exit 1
}

[ -x "$gantry" ] || die "build first: make build"
git -C "$root" rev-parse --verify -q HEAD >/dev/null || die "the session clones this repository, so it needs a commit"
"$root"/scripts/needs.sh git bubblewrap
command -v bwrap >/dev/null || die "the sandbox needs bubblewrap: apt-get install bubblewrap"

goroot=$(go env GOROOT)
modules=$(go env GOMODCACHE)
cache=$(go env GOCACHE)
dir=$(mktemp -d "${TMPDIR:-/tmp}/gantry-demo-XXXXXX")
server=
# shellcheck disable=SC2317 # called by the trap
stop() {
	status=$?
	trap - EXIT
	if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
		wait "$server" || echo "demo: the server didn't stop in order: see above" >&2
	fi
	rm -rf "$dir"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing of the caller's own Gantry gets in, and no profile of theirs is touched.
for name in $(compgen -e | grep -E '^(GANTRY|DEVIN)_' || true); do unset "$name"; done
export XDG_CONFIG_HOME=$dir/config

say "A server on an empty data directory"
: >"$dir/log"
"$gantry" serve --data "$dir/data" --listen 127.0.0.1:0 --repo-root "$(dirname "$root")" \
	--sandbox-bind "$goroot" --sandbox-bind "$modules:/opt/gomod" --sandbox-bind "$cache:/opt/gocache" >"$dir/out" 2>>"$dir/log" &
server=$!
url=
for _ in $(seq 200); do
	url=$(sed -n 's/.*"msg":"ready","url":"\([^"]*\)".*/\1/p' "$dir/log")
	[ -n "$url" ] && break
	kill -0 "$server" 2>/dev/null || break
	sleep 0.05
done
[ -n "$url" ] || die "the server didn't start: $(cat "$dir/log")"
sed -n 's/.*"msg":"ready".*/ready at '"${url//\//\\/}"'/p' "$dir/log"

field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p'; }
export GANTRY_URL=$url
GANTRY_KEY=$(field token <"$dir/data/initial-admin.json")
GANTRY_ORG=$(field org_id <"$dir/data/initial-admin.json")
export GANTRY_KEY GANTRY_ORG

cat >"$dir/schema.json" <<'EOF'
{
  "type": "object",
  "required": ["package", "commit", "vet", "tests_passed"],
  "properties": {
    "package": {"type": "string"},
    "commit": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
    "vet": {"enum": ["clean"]},
    "tests_passed": {"type": "integer", "minimum": 0}
  }
}
EOF

say "A session that vets and tests $package"
status=0
"$gantry" session create - --title "Vet and test $package" --repo "$root" --schema "$dir/schema.json" --max-acu 1 --follow <<EOF || status=$?
Vet and test one package of this repository, without a network. Keep the test's log and report what passed.

\`\`\`sh
# Find the tools.
# The build cache is a copy of links, so that what is built already isn't built again and nothing is written there.
cp -rs /opt/gocache /tmp/gocache && rm -f /tmp/gocache/trim.txt && date +%s >/tmp/gocache/trim.txt
cat >/tmp/go.env <<'END'
export PATH=$goroot/bin:\$PATH GOCACHE=/tmp/gocache GOMODCACHE=/opt/gomod GOPROXY=off GOTOOLCHAIN=local
export GOFLAGS='-buildvcs=false -trimpath' CGO_ENABLED=0
END
. /tmp/go.env
go version && git log --oneline -1
\`\`\`

\`\`\`sh
# Vet it: tool chain, modules and build cache are bound into the sandbox read-only.
. /tmp/go.env
go vet $package
\`\`\`

\`\`\`sh
# Test it and keep the whole log.
. /tmp/go.env
go test -v -count=1 $package >/tmp/test.log 2>&1
status=\$?
grep -E '^(---|ok|FAIL|PASS|\?)' /tmp/test.log
cp /tmp/test.log "\$GANTRY_ATTACHMENTS/test.log"
exit \$status
\`\`\`

\`\`\`sh
# The result, as the schema wants it.
printf '{"package": "%s", "commit": "%s", "vet": "clean", "tests_passed": %d}\n' \\
	"$package" "\$(git rev-parse HEAD)" "\$(grep -c '^--- PASS' /tmp/test.log)"
\`\`\`
EOF

if [ "$status" != 0 ]; then
	echo "demo: the session ended with exit code $status; the server's log:" >&2
	tail -n 20 "$dir/log" >&2
	exit "$status"
fi
say "What is kept"
"$gantry" session list
say "Stopping; the data in $dir goes with it"
