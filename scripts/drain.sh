#!/usr/bin/env bash
# Drains a long backlog to a Mosquitto and prints how fast, and with how much memory.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/drain.sh [--messages N] [--rows TEXT]

	TestDrain: N messages of 100 bytes wait in a gateway whose cloud is away, once at
	QoS 1 and once at QoS 2; then a Mosquitto starts there. Messages per second are
	those from the moment that the link is up until the last one is acknowledged;
	gateway, Mosquitto and test share this machine. For comparison Mosquitto drains the
	same through its own bridge, at QoS 1, from its memory.

	  --messages N  1000000 without it
	  --rows TEXT   only the rows whose title contains TEXT: "gateway, QoS 1",
	                "gateway, QoS 2", "mosquitto, QoS 1"
	END
}

die() { echo "drain.sh: $*" >&2; exit 2; }

messages=1000000 rows=QoS
while [ $# -gt 0 ]; do
	case $1 in
		--messages) [[ ${2-} =~ ^[1-9][0-9]*0$ ]] || die "--messages takes a multiple of 10"; messages=$2; shift ;;
		--rows) rows=${2-}; shift ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # Debian keeps mosquitto where the PATH of a plain user does not look
command -v mosquitto >/dev/null || die "mosquitto is missing (apt-get install mosquitto)"
# The unit's variables would lead the gateway elsewhere.
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC
echo "$(getconf _NPROCESSORS_ONLN) processors"
go test ./e2e -count=1 -v -timeout 30m -run '^TestDrain$' -args -drain "$messages" -drain-rows "$rows" |
	grep -E '^ *(---|ok|FAIL|[a-z_]+\.go:[0-9]+:)'
