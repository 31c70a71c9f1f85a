#!/usr/bin/env bash
# Runs one built gateway through its life: version, start, publish, subscribe,
# status, stop within 5 s, start again. The binary may be for another machine:
#
#   scripts/smoke.sh dist/gateway-linux-amd64
#   scripts/smoke.sh dist/gateway-linux-armv6 qemu-arm-static -cpu arm1176
set -euo pipefail

if [ $# -lt 1 ] || [ "$1" = --help ]; then
	echo "usage: scripts/smoke.sh BINARY [EMULATOR [ARGUMENT...]]" >&2
	exit 2
fi
binary=$(realpath "$1")
shift
gateway=("$@" "$binary")
PATH=$PATH:/usr/sbin:/sbin

dir=$(mktemp -d)
pid=

cleanup() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT

die() {
	echo "smoke: $*" >&2
	if [ -s "$dir/log" ]; then
		echo "smoke: the log of the gateway:" >&2
		tail -n 50 "$dir/log" >&2
	fi
	exit 1
}

say() { echo "  $*"; }

# want NAME GOT PATTERN: fails unless the whole of GOT matches the glob PATTERN.
want() {
	# shellcheck disable=SC2053 # a pattern is wanted
	[[ $2 == $3 ]] || die "$1 is \"$2\", want \"$3\""
	say "$1: $2"
}

for tool in mosquitto_pub mosquitto_sub; do
	command -v $tool >/dev/null || die "$tool is missing (apt-get install mosquitto-clients)"
done

# Port 0 everywhere: the kernel gives free ports, and tells below which.
cat >"$dir/gateway.toml" <<END
config_version = 1
id = "smoke"
data_dir = "$dir/data"

[[broker.listeners]]
address = "tcp://127.0.0.1:0"

[status]
address = "127.0.0.1:0"

[[devices]]
name = "system"
kind = "host"
every = "1s"
END
mkdir "$dir/data"

# The unit's variables would lead the gateway elsewhere.
unset RUNTIME_DIRECTORY STATE_DIRECTORY CONFIGURATION_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC

# ports prints the TCP ports on which process $pid listens, by its socket inodes.
ports() {
	local inodes
	inodes=$(readlink "/proc/$pid/fd/"* 2>/dev/null | sed -n 's/^socket:\[\(.*\)\]$/\1/p' | tr '\n' ' ')
	awk -v inodes="$inodes" '
		BEGIN { n = split(inodes, a, " "); for (i = 1; i <= n; i++) ours[a[i]] = 1 }
		$4 == "0A" && ($10 in ours) { print substr($2, index($2, ":") + 1) }
	' "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6" 2>/dev/null |
		while read -r hex; do echo $((16#$hex)); done
}

# http PORT PATH prints the answer to a GET; it fails where no HTTP is spoken.
http() {
	local answer
	exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&9
	answer=$(timeout 10 cat <&9 | tr -d '\0\r') || true
	exec 9>&-
	[[ $answer == HTTP/* ]] && printf '%s\n' "$answer"
}

# start runs the gateway until it serves, and sets pid, mqtt and page. 60 s are
# for an emulator on a busy machine; a Pi needs about one.
start() {
	"${gateway[@]}" run -config "$dir/gateway.toml" >>"$dir/log" 2>&1 &
	pid=$!
	local deadline=$((SECONDS + 60)) found=()
	until mapfile -t found < <(ports) && [ ${#found[@]} -ge 2 ] && [ -S "$dir/data/control.sock" ]; do
		kill -0 "$pid" 2>/dev/null || die "the gateway ended while starting"
		[ $SECONDS -lt $deadline ] || die "the gateway does not serve: ${#found[@]} of 2 TCP ports after 60 s, control socket $(ls "$dir/data/control.sock" 2>/dev/null || echo missing)"
		sleep 0.1
	done
	mqtt='' page=''
	local port
	for port in "${found[@]}"; do
		# The broker gets the same question: bad input that it must survive.
		if http "$port" /healthz >"$dir/health"; then page=$port; else mqtt=$port; fi
	done
	[ -n "$mqtt" ] || die "no port speaks MQTT; listening on ${found[*]}"
	[ -n "$page" ] || die "no port speaks HTTP; listening on ${found[*]}"
	http "$page" /healthz >"$dir/health" || die "the status page does not answer"
	say "serves MQTT on $mqtt, the page on $page, $(grep -i VmRSS "/proc/$pid/status" | tr -s '\t ' ' ')"
}

# stop sends SIGTERM and holds the gateway to its 5 s.
stop() {
	local began=$EPOCHREALTIME code=0 killer=$pid took
	(sleep 20 && kill -9 "$killer") 2>/dev/null & # ends a wait that never ends
	local guard=$!
	kill -TERM "$pid"
	wait "$pid" || code=$?
	took=$((${EPOCHREALTIME/./} - ${began/./}))
	pid=
	kill "$guard" 2>/dev/null || true
	wait "$guard" 2>/dev/null || true
	[ $code -eq 0 ] || die "after SIGTERM the exit code is $code, want 0"
	[ $took -le 5000000 ] || die "the stop took $((took / 1000)) ms, want 5000 at most"
	say "stopped with exit code 0 after $((took / 1000)) ms"
}

pub() { mosquitto_pub -h 127.0.0.1 -p "$mqtt" "$@" || die "mosquitto_pub $* failed"; }

# sub VERSION COUNT TOPIC prints COUNT messages as: topic qos retained payload
sub() { mosquitto_sub -h 127.0.0.1 -p "$mqtt" -V "$1" -C "$2" -W 30 -q 2 -t "$3" -F '%t %q %r %p'; }

got=$("${gateway[@]}" version) || die "gateway version fails: $got"
want "version" "$got" '*[a-z0-9]*'

start
want "health" "$(head -n 1 "$dir/health")" 'HTTP/1.? 200 *'

for v in mqttv311 mqttv5; do
	pub -V $v -q 1 -r -t "smoke/test/$v" -m "kept $v"
	# The retained message tells that the subscription stands; then comes what is live.
	exec 8< <(sub $v 3 "smoke/test/$v")
	read -r -t 30 got <&8 || die "no retained message over $v"
	want "$v, retained" "$got" "smoke/test/$v 1 1 kept $v"
	pub -V $v -q 1 -t "smoke/test/$v" -m "live 1"
	pub -V $v -q 2 -t "smoke/test/$v" -m "live 2"
	read -r -t 30 got <&8 || die "no QoS 1 message over $v"
	want "$v, QoS 1" "$got" "smoke/test/$v 1 0 live 1"
	read -r -t 30 got <&8 || die "no QoS 2 message over $v"
	want "$v, QoS 2" "$got" "smoke/test/$v 2 0 live 2"
	exec 8<&-
done

got=$(sub mqttv5 1 smoke/system/state) || die "device system publishes no state"
got=$(sub mqttv5 1 smoke/system/state) # the first may have come live; now it is kept
want "device state" "$got" 'smoke/system/state ? 1 {*"ts":*}'

got=$("${gateway[@]}" status -json -config "$dir/gateway.toml") || die "gateway status fails: $got"
[[ $got == *'"id": "smoke"'* && $got == *"127.0.0.1:$mqtt"* ]] ||
	die "gateway status speaks neither of smoke nor of port $mqtt: $got"
say "status: $(wc -l <<<"$got") lines of JSON"

stop

# A second life: what was retained at QoS 1 is still there.
start
got=$(sub mqttv311 1 smoke/test/mqttv5) || die "the retained message did not survive a clean stop"
want "retained after a restart" "$got" "smoke/test/mqttv5 1 1 kept mqttv5"
stop
