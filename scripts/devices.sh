#!/usr/bin/env bash
# Measures what devices cost the processor.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/devices.sh [--time SECONDS] [--devices NUMBER]

	Runs "gateway run" with devices that are sampled once a second, half of them of the
	kind sim, half of the kind host, with the status page and without a cloud. It prints
	user and system time of the process, as a part of one core, and its memory.

	  --time SECONDS    how long it is measured, after 5 s; 60 without it
	  --devices NUMBER  how many; 20 without it
	END
}

die() { echo "devices.sh: $*" >&2; exit 2; }

time=60 devices=20
while [ $# -gt 0 ]; do
	case $1 in
		--time) time=${2-}; shift ;;
		--devices) devices=${2-}; shift ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done
[[ $time =~ ^[1-9][0-9]*$ && $devices =~ ^[1-9][0-9]*$ ]] || die "--time and --devices take a number"

cd "$(dirname "$0")/.."
work=$(mktemp -d)
pid=
cleanup() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" || true; }
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC

CGO_ENABLED=0 go build -o "$work/gateway" ./cmd/gateway
{
	cat <<-END
	id = "devices"
	data_dir = "$work/data"
	[[broker.listeners]]
	address = "tcp://127.0.0.1:0"
	[status]
	address = "127.0.0.1:0"
	END
	for i in $(seq "$devices"); do
		kind=sim
		[ $((i % 2)) -eq 0 ] || kind=host
		printf '[[devices]]\nname = "d%d"\nkind = "%s"\nevery = "1s"\n' "$i" "$kind"
	done
} >"$work/gateway.toml"
"$work/gateway" run -config "$work/gateway.toml" >"$work/log" 2>&1 &
pid=$!

# ticks prints user and system time of the process in ticks, proc_pid_stat(5).
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat" || die "the gateway ended: $(cat "$work/log")"; }

sleep 5
before=$(ticks) began=$EPOCHREALTIME
sleep "$time"
after=$(ticks) ended=$EPOCHREALTIME
samples=$("$work/gateway" status -json -config "$work/gateway.toml" | sed -nE 's/^ *"readings": ([0-9]+),?$/\1/p' | awk '{ s += $1 } END { print s }')
awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v us=$((${ended/./} - ${began/./})) -v n="$devices" -v s="$samples" \
	-v rss="$(awk '/VmRSS/ { print $2 }' "/proc/$pid/status")" 'BEGIN {
	printf "%d devices at 1 Hz, %d readings: %.2f s of processor time in %.0f s, %.2f %% of a core; %.1f MB of memory\n",
		n, s, t / hz, us / 1e6, 100 * t / hz / (us / 1e6), rss / 1024 }'
