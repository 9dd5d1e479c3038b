#!/usr/bin/env bash
# Installs what is missing of git, bubblewrap, postgresql and chromium, where that is allowed, and says what stays away and what is
# skipped for it: scripts/needs.sh [NAMES], all four without names.
set -euo pipefail

have() {
	case $1 in
	git) command -v git >/dev/null ;;
	bubblewrap) command -v bwrap >/dev/null ;;
	chromium) command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ;;
	postgresql) [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || command -v initdb >/dev/null ;;
	esac
}

[ $# -gt 0 ] || set -- git bubblewrap postgresql chromium
missing=()
for name in "$@"; do
	have "$name" || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing ${missing[*]}" >&2
	# The package would start a server of its own; ours is a throw-away one.
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		mkdir -p /etc/postgresql-common
		echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq || true
	left=()
	for name in "${missing[@]}"; do # one by one: not every distribution has all of them
		apt-get install -y -qq --no-install-recommends "$name" >/dev/null || left+=("$name")
	done
	[ ${#left[@]} -gt 0 ] || exit 0
	missing=("${left[@]}")
	echo "apt-get could not install ${missing[*]}" >&2
else
	echo "not root, or no apt-get: ${missing[*]} can't be installed here" >&2
fi
for m in "${missing[@]}"; do
	case $m in
	git) echo "skipped for want of git: the tests that clone" ;;
	bubblewrap) echo "skipped for want of bubblewrap: the sandbox's tests and every session that runs in one" ;;
	chromium) echo "skipped for want of chromium: the tests that look at the console's pages in a browser" ;;
	postgresql) echo "skipped for want of PostgreSQL: the PostgreSQL half of every test that runs on both engines" ;;
	esac
done >&2
