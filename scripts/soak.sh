#!/usr/bin/env bash
# Cuts the link to the cloud again and again under load in both directions, and counts
# what was lost, came twice or came out of order.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/soak.sh [--minutes N] [--seed S] [--cloud mosquitto|gateway]

	TestSoak: a gateway and a Mosquitto, and a proxy between them that cuts every
	connection 1 to 5 seconds after it was made, half of the times in the middle of
	whatever goes over it. 500 messages per second go up and as many down, half of them
	at QoS 1 and half at QoS 2, from four publishers each, on the side that they are on.

	  --minutes N  how long, 10 without it
	  --seed S     of the moments of the cuts; without it, the time
	  --cloud C    a second gateway as the server in the place of Mosquitto

	"again" is what came again at QoS 1, as it must after a cut. "sent as two by the
	server" and "out of order" behind it is what the server itself did on the wire.

	Exits with 1 if a message was lost, came twice at QoS 2, or out of order.
	END
}

die() { echo "soak.sh: $*" >&2; exit 2; }

minutes=10 seed=$(date +%s) cloud=mosquitto
while [ $# -gt 0 ]; do
	case $1 in
		--minutes) [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "--minutes takes a number above 0"; minutes=$2; shift ;;
		--seed) [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "--seed takes a number above 0"; seed=$2; shift ;;
		--cloud) cloud=${2-}; shift ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done
case $cloud in mosquitto | gateway) ;; *) die "--cloud takes mosquitto or gateway" ;; esac

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # Debian keeps mosquitto where the PATH of a plain user does not look
[ "$cloud" = gateway ] || command -v mosquitto >/dev/null || die "mosquitto is missing (apt-get install mosquitto)"
# The unit's variables would lead the gateway elsewhere.
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC
echo "$(getconf _NPROCESSORS_ONLN) processors, load average $(cut -d' ' -f1-3 /proc/loadavg)"
go test ./e2e -count=1 -v -timeout $((minutes + 10))m -run '^TestSoak$' -args -soak "${minutes}m" -seed "$seed" -cloud "$cloud"
echo "load average $(cut -d' ' -f1-3 /proc/loadavg)"
