#!/usr/bin/env bash
# Kills the gateway and stops the cloud under load, round after round, and counts
# what was lost, came twice or came out of order.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/crash-test.sh [--rounds N] [--seed S] [--keep DIR]

	Each round is TestNothingIsLostThroughKillsAndOutages: four publishers send QoS 1
	and QoS 2 messages through a gateway to a Mosquitto, while the gateway is killed
	with -9 and Mosquitto is stopped at moments that the seed of the round chooses.
	Lost is what a subscriber at Mosquitto never gets; order, and QoS 2, are judged on
	the wire to Mosquitto, which itself keeps neither after a restart. About 20 seconds
	each. Exits with 1 if a message was lost, came out of order,
	came twice at QoS 2, or if a round did not come to its end.

	  --rounds N   how many, 10 without it
	  --seed S     of the first round, each further one takes the next number; without
	               it, the time. "--rounds 1 --seed S" repeats a round.
	  --keep DIR   where the output of rounds that failed goes, a directory in TMPDIR
	               without it
	END
}

die() { echo "crash-test.sh: $*" >&2; exit 2; }

number() { [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "$1 takes a number above 0, not \"${2-}\""; }

rounds=10 seed=$(date +%s) keep=
while [ $# -gt 0 ]; do
	case $1 in
		--rounds) number "$1" "${2-}"; rounds=$2; shift ;;
		--seed) number "$1" "${2-}"; seed=$2; shift ;;
		--keep) [ -n "${2-}" ] || die "--keep takes a directory"; keep=$(realpath "$2"); shift ;;
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
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go test -c -o "$work/e2e.test" ./e2e || die "the test does not build"

names=(messages kills stops lost qos1 qos2 disorder)
declare -A sum=()
for name in "${names[@]}"; do sum[$name]=0; done
failed=0 ran=0

row() { printf '%-22s %9s %6s %12s %6s %6s %6s %13s  %s\n' "$@"; }

# figure PATTERN prints the number behind the first match in the output of the round.
figure() { sed -nE "s/.*$1([0-9]+).*/\\1/p" "$work/out" | head -n 1; }

row 'round (seed)' messages kills 'cloud stops' lost 'dup 1' 'dup 2' 'out of order' ''
began=$SECONDS
for ((round = 1; round <= rounds; round++, seed++)); do
	code=0
	(cd e2e && "$work/e2e.test" -test.v -test.count=1 -test.timeout 5m \
		-test.run '^TestNothingIsLostThroughKillsAndOutages$' -seed "$seed") >"$work/out" 2>&1 || code=$?
	ran=$((ran + 1))
	declare -A now=(
		[messages]=$(figure 'all ')
		[kills]=$(grep -cE 'fault [0-9]+: (gateway|both)' "$work/out" || true)
		[stops]=$(grep -cE 'fault [0-9]+: (cloud|both)' "$work/out" || true)
		[lost]=$(figure 'lost ')
		[qos1]=$(figure 'duplicates: QoS 1 ')
		[qos2]=$(figure 'duplicates: QoS 1 [0-9]+, QoS 2 ')
		[disorder]=$(figure 'out of order ')
	)
	verdict=ok
	# A round without these words has proved nothing, whatever its exit code.
	for name in "${names[@]}"; do [ -n "${now[$name]}" ] || verdict='did not end'; done
	[ "$verdict" != ok ] || [ "${now[kills]}" -gt 0 ] || verdict='no kill'
	if [ "$verdict" = ok ] && { [ $code -ne 0 ] || [ $((now[lost] + now[disorder] + now[qos2])) -gt 0 ]; }; then
		verdict=FAILED
	fi
	for name in "${names[@]}"; do sum[$name]=$((sum[$name] + ${now[$name]:-0})); done
	if [ "$verdict" != ok ]; then
		failed=$((failed + 1))
		[ -n "$keep" ] || keep=$(mktemp -d -t crash-test.XXXXXX)
		mkdir -p "$keep"
		cp "$work/out" "$keep/seed-$seed.log"
		verdict="$verdict: $keep/seed-$seed.log"
	fi
	row "$round ($seed)" "${now[messages]:--}" "${now[kills]}" "${now[stops]}" "${now[lost]:--}" \
		"${now[qos1]:--}" "${now[qos2]:--}" "${now[disorder]:--}" "$verdict"
done
row "all $ran, $((SECONDS - began)) s" "${sum[messages]}" "${sum[kills]}" "${sum[stops]}" "${sum[lost]}" \
	"${sum[qos1]}" "${sum[qos2]}" "${sum[disorder]}" "$failed failed"
[ $failed -eq 0 ] || exit 1
