#!/usr/bin/env bash
# Measures what a long backlog costs in memory, disk and time.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/backlog.sh [--messages N]

	Runs TestBacklog: ten MQTT clients publish messages of QoS 1, 100 bytes and topics
	of 40 bytes, a thousand of each under way, through a gateway whose cloud is away.
	Then the gateway is stopped and started, killed and started, and drains the backlog
	to a cloud that counts. The same runs a second time inside a memory cgroup with a
	limit of 48 MB, page cache included, where this machine has cgroups of version 1
	and lets us make one.

	  --messages N  how many, 1000000 without it
	END
}

die() { echo "backlog.sh: $*" >&2; exit 2; }

messages=1000000
while [ $# -gt 0 ]; do
	case $1 in
		--messages) [[ ${2-} =~ ^[1-9][0-9]*0$ ]] || die "--messages takes a multiple of ten"; messages=$2; shift ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.."
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

run() {
	local code=0
	go test ./e2e -count=1 -v -timeout 30m -run '^TestBacklog$' -args -backlog "$messages" "$@" >"$work/out" 2>&1 || code=$?
	sed -nE 's/^ +backlog_test\.go:[0-9]+: \|//p' "$work/out"
	grep -q '^--- PASS' "$work/out" && [ $code -eq 0 ] || { grep -vE '^=== ' "$work/out"; exit 1; }
}

echo "$messages messages"
run
if [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
	printf '\nthe same within 48 MB\n'
	run -memory-limit 48000000
else
	echo "SKIPPED: there is no memory cgroup of version 1 here that we may use"
fi
