#!/usr/bin/env bash
# Compares the gateway with Debian's Mosquitto under the same load, turn by turn.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/bench.sh [--quick] [GATEWAY]

	Runs both brokers in turn under the load of "gateway bench", three rounds, and
	prints the medians: what each does per second, and the CPU time it spends per
	message. Three to five minutes; --quick does one short round within one.
	GATEWAY is a built gateway; without it one is built here.

	Each measurement has a new broker process. Both keep up to 1000 messages in
	flight and queue without practical limit. Mosquitto writes nothing to disk; the
	gateway has its store, in TMPDIR. Both listen on TCP on the loopback.
	END
}

die() { echo "bench.sh: $*" >&2; exit 1; }

rounds=3 seconds=3s connections=10000 gateway=
while [ $# -gt 0 ]; do
	case $1 in
		--quick) rounds=1 seconds=1500ms ;;
		-h | --help) usage; exit 0 ;;
		-*) usage >&2; exit 2 ;;
		*) [ -z "$gateway" ] || { usage >&2; exit 2; }; gateway=$(realpath "$1") ;;
	esac
	shift
done

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # Debian keeps mosquitto where the PATH of a plain user does not look
command -v mosquitto >/dev/null || die "mosquitto is missing (apt-get install mosquitto)"
dir=$(mktemp -d)
pid=

cleanup() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "$gateway" ]; then
	gateway=$dir/gateway
	CGO_ENABLED=0 go build -trimpath -o "$gateway" ./cmd/gateway || die "the gateway does not build"
fi

# Both sides of each connection are files, in two processes.
ulimit -n "$(ulimit -Hn)"
if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt $((connections + 200)) ]; then
	connections=$(($(ulimit -n) - 200))
fi
# The unit's variables would lead the gateway elsewhere.
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC

# --- brokers ----------------------------------------------------------------

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
	local p
	for _ in {1..100}; do
		p=$((10000 + RANDOM % 20000)) # below those that outgoing connections take
		answers $p || { echo $p; return; }
	done
	die "no free port found"
}

# start BROKER [CONFIGURATION] runs mosquitto, gateway or sink and sets pid and port.
start() {
	port=$(free_port)
	rm -rf "$dir/data"
	mkdir "$dir/data"
	case $1 in
		mosquitto)
			cat >"$dir/conf" <<-END
			listener $port 127.0.0.1
			allow_anonymous true
			persistence false
			max_inflight_messages 1000
			max_queued_messages 0
			log_type error
			END
			mosquitto -c "$dir/conf" >"$dir/log" 2>&1 &
			;;
		gateway)
			cat >"$dir/conf" <<-END
			config_version = 1
			id = "bench"
			data_dir = "$dir/data"
			${2-}
			[log]
			level = "error"
			[broker]
			max_connections = 30000
			max_inflight = 1000
			max_queued_messages = 100000000
			max_queued_bytes = "1GiB"
			[[broker.listeners]]
			address = "tcp://127.0.0.1:$port"
			END
			[ -n "${2-}" ] || printf '[status]\naddress = ""\n' >>"$dir/conf"
			"$gateway" run -config "$dir/conf" >"$dir/log" 2>&1 &
			;;
		sink) "$gateway" bench -sink -address "127.0.0.1:$port" >"$dir/log" 2>&1 & ;;
	esac
	pid=$!
	local deadline=$((SECONDS + 20))
	until answers "$port"; do
		kill -0 "$pid" 2>/dev/null || { cat "$dir/log" >&2; die "$1 ended while starting"; }
		[ $SECONDS -lt $deadline ] || die "$1 does not listen on port $port after 20 s"
		sleep 0.05
	done
}

stop() {
	kill "$pid" 2>/dev/null || true
	for _ in {1..400}; do # 20 s
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	pid=
}

# --- measurements -----------------------------------------------------------

# field NAME prints the first number of that name in the result.
field() { sed -n "s/^ *\"$1\": \\([0-9.e+-]*\\),\\{0,1\\}\$/\\1/p" "$dir/result" | head -n 1; }

# measure BROKER NAME FIGURE FLAGS...: one run against a new process. FIGURE is
# the field of the result that counts.
measure() {
	local broker=$1 name=$2 figure=$3 value cpu own flaw=
	shift 3
	start "$broker"
	timeout 120 "$gateway" bench -json -address "127.0.0.1:$port" -pid "$pid" "$@" >"$dir/result" 2>"$dir/errors" || flaw='!'
	stop
	value=$(field "$figure") cpu=$(field broker_cpu_per_message_ns) own=$(field cores)
	if [ -n "$flaw" ]; then
		echo "! $broker, $name: $(field lost) lost, $(field missing) missing, $(field duplicates) twice, $(field disordered) out of order; $(tr '\n' ' ' <"$dir/errors")$(grep -A 3 '"failures"' "$dir/result" | tr -d '\n')" >>"$dir/flaws"
	fi
	printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$broker" "${value:-nan}" "${cpu:-nan}" "${own:-nan}" >>"$dir/values"
}

# idle_rss sets rss to the memory of "gateway run" with the parts it has by
# default, three seconds after its start, in bytes.
idle_rss() {
	start gateway "$(printf '[[devices]]\nname = "system"\nkind = "host"\nevery = "1s"\n[status]\naddress = "127.0.0.1:0"\n')"
	sleep 3
	rss=$(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$pid/smaps_rollup")
	stop
}

# generator_limit QOS adds to limits what the load generator reaches when the
# broker does next to nothing.
limits=
generator_limit() {
	start sink
	timeout 60 "$gateway" bench -json -address "127.0.0.1:$port" -subscribers 0 -duration 1s -window 1000 -qos "$1" >"$dir/result"
	stop
	limits+=$(printf '%sQoS %d %.1f' "${limits:+, }" "$1" "$(field sent_per_second)e-6")
}

names=()
scenario() { # scenario NAME FIGURE FLAGS...: both brokers; who is first changes with the round
	local order=(mosquitto gateway) broker
	[ $((round % 2)) -eq 1 ] || order=(gateway mosquitto)
	[ "$round" -gt 1 ] || names+=("$1")
	for broker in "${order[@]}"; do measure "$broker" "$@"; done
	[ ! -t 2 ] || printf '\r\033[Kround %d of %d: %s' "$round" "$rounds" "$1" >&2
}

processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
echo "$(nproc) processors (${processor:-$(uname -m)}), Linux $(uname -r)"
echo "$("$gateway" version | head -n 1); $(mosquitto -h | head -n 1)"
echo "load average before: $(cut -d' ' -f1-3 /proc/loadavg)"
: >"$dir/values"
: >"$dir/flaws"
began=$SECONDS
for ((round = 1; round <= rounds; round++)); do
	run=(-duration "$seconds")
	d=delivered_per_second
	scenario "QoS 0, 1 -> 1" $d "${run[@]}"
	scenario "QoS 0, 10 -> 10" $d "${run[@]}" -publishers 10 -subscribers 10 -topics 10 -ahead 1000
	scenario "QoS 0, 1 -> 100" $d "${run[@]}" -subscribers 100 -ahead 1000
	scenario "QoS 1, 1 -> 1, window 100" $d "${run[@]}" -qos 1
	scenario "QoS 1, 1 -> 1, window 1000" $d "${run[@]}" -qos 1 -window 1000
	scenario "QoS 1, 50 -> 1" $d "${run[@]}" -qos 1 -publishers 50 -topics 50 -ahead 1000
	scenario "QoS 2, 1 -> 1, window 100" $d "${run[@]}" -qos 2
	scenario "100,000 retained values" got_per_second -mode retained -topics 100000
	scenario "connects" connects_per_second -mode connects "${run[@]}"
	scenario "idle connection" rss_per_connection_bytes -mode idle -connections "$connections" -hold 2s
done
idle_rss
for qos in 0 1 2; do generator_limit $qos; done
[ ! -t 2 ] || printf '\r\033[K' >&2

# --- the table --------------------------------------------------------------

echo "load average after: $(cut -d' ' -f1-3 /proc/loadavg); $((SECONDS - began)) s, medians of $rounds"
echo
printf '%s\n' "${names[@]}" | awk -F '\t' -v values="$dir/values" -v connections="$connections" '
function median(list, n,    i, j, t, a) {
	n = split(list, a, " ")
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && a[j - 1] + 0 > a[j] + 0; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
	if (n == 0) return "-"
	return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}
function thousands(v,    s, out) {
	if (v == "-") return v
	for (s = sprintf("%.0f", v); length(s) > 3; s = substr(s, 1, length(s) - 3)) out = "," substr(s, length(s) - 2) out
	return s out
}
function micro(v) { return v == "-" ? v : sprintf("%.2f", v / 1000) }
function ratio(g, m) { return g == "-" || m == "-" || m + 0 == 0 ? "-" : sprintf("%.2fx", g / m) }
BEGIN {
	while ((getline line < values) > 0) {
		split(line, f, "\t")
		if (f[3] != "nan") value[f[1], f[2]] = value[f[1], f[2]] " " f[3]
		if (f[4] != "nan") cpu[f[1], f[2]] = cpu[f[1], f[2]] " " f[4]
	}
	printf "%-27s %10s %11s %7s  %9s %8s\n", "", "Mosquitto", "gateway", "ratio", "Mosquitto", "gateway"
	printf "%-27s %30s  %18s\n", "", "per second", "CPU each, us"
}
{
	m = median(value[$1, "mosquitto"]); g = median(value[$1, "gateway"])
	if ($1 == "idle connection") { idle = sprintf("%-27s %10s %11s %7s  bytes of RAM each, at %d\n", $1, thousands(m), thousands(g), ratio(g, m), connections); next }
	printf "%-27s %10s %11s %7s  %9s %8s\n", $1, thousands(m), thousands(g), ratio(g, m),
		micro(median(cpu[$1, "mosquitto"])), micro(median(cpu[$1, "gateway"]))
}
END { printf "%s", idle }'
awk -v rss="$rss" 'BEGIN { printf "%-27s %10s %11.1f MB of RAM (default configuration, 3 s after start)\n", "gateway run, idle", "", rss / 1e6 }'
echo
echo "The load generator alone, to a sink, in million messages per second: $limits."
awk -F '\t' '$5 > most { most = $5; where = $1 " on " $2 }
END { printf "It took %.2f processors at most (%s).\n", most, where }' "$dir/values"
if [ -s "$dir/flaws" ]; then
	echo
	cat "$dir/flaws"
fi
