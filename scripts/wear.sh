#!/usr/bin/env bash
# Measures what a message costs the disk.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/wear.sh [--time TIME] [--row TEXT]

	Runs TestWear with all its rows: a gateway under one kind of load each, with a
	Mosquitto behind a link of 100 to 120 ms each way as its cloud, payloads of 100
	bytes. It prints bytes written and fsyncs per message, their bounds, and "ok" or
	"over".

	Bytes are the pages of the store that the gateway hands to pwrite, as it counts
	them itself (gateway_store_written_bytes_total in /metrics). "kernel" is write_bytes of /proc/PID/io, which must be 0 where the
	bound is 0. It is no measure of the rest: it counts each large folio of the page
	cache as a whole, however little of it is written. wchar of the same file counts
	what goes to sockets, too.

	In rows of "link up" retained_every is 24h, so that what is written at that pace
	stays out, but for the row that names it. In rows with "fsync" strace delays each
	fsync and fdatasync of the gateway. A last line tells of life while each takes 5 s.

	  --time TIME  how long each row runs, 60s without it; rows run side by side
	  --row TEXT   only rows whose title contains TEXT
	END
}

die() { echo "wear.sh: $*" >&2; exit 2; }

time=60s row=
while [ $# -gt 0 ]; do
	case $1 in
		--time) [ -n "${2-}" ] || die "--time takes a time such as 60s"; time=$2; shift ;;
		--row) row=${2-}; shift ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # Debian keeps mosquitto where the PATH of a plain user does not look
for tool in mosquitto strace; do
	command -v $tool >/dev/null || die "$tool is missing (apt-get install $tool)"
done
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

code=0
go test ./e2e -count=1 -v -timeout 60m -run '^(TestWear|TestLifeGoesOnWhileEachFsyncTakesFiveSeconds)$' -parallel 4 -args -wear "$time" -rows "$row" >"$work/out" 2>&1 || code=$?
sed -nE 's/^ +(wear|slowdisk)_test\.go:[0-9]+: \|//p' "$work/out"
grep -q '^--- ' "$work/out" && [ $code -eq 0 ] || { grep -vE '^=== ' "$work/out"; exit 1; }
