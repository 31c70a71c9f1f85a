#!/usr/bin/env bash
# Kills the gateway and cuts its link under load, round after round, and counts what
# was lost, came twice or came out of order.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/crash-test.sh [--kills N] [--seed S] [--keep DIR]

	Each round is TestNothingIsLostThroughKillsAndCuts with up to 20 kills: four
	publishers send QoS 1 and QoS 2 messages through a gateway to three local
	subscribers with persistent sessions (one is steady, one goes away again and
	again, one is slow) and to a Mosquitto, while the gateway is killed with -9, under
	load, while it opens its store, just after, and while it drains, and the link to
	Mosquitto is cut, in the middle of packets too. In every fourth round Mosquitto is
	stopped and started as well. It counts first arrivals that come after a later one
	of the same publisher, topic and QoS as out of order, and what is sent again at
	QoS 1 as it must be as "again".

	"link" is judged on the wire to Mosquitto, "consumer" is a subscriber at Mosquitto.
	Mosquitto itself keeps neither order nor QoS 2 towards its subscribers after a
	restart, so that in rounds with one the consumer is only asked what it lost.

	  --kills N    how many in all, 100 without it; about a second each
	  --seed S     of the first round, each further one takes the next number; without
	               it, the time. "--kills 20 --seed S" repeats a round.
	  --keep DIR   where the output of rounds that failed goes, a directory in TMPDIR
	               without it

	Exits with 1 if a message was lost, came out of order or twice at QoS 2, or if a
	round did not come to its end.
	END
}

die() { echo "crash-test.sh: $*" >&2; exit 2; }

number() { [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "$1 takes a number above 0, not \"${2-}\""; }

kills=100 seed=$(date +%s) keep=
while [ $# -gt 0 ]; do
	case $1 in
		--kills) number "$1" "${2-}"; kills=$2; shift ;;
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

# The figures of each kind of receiver: lost, again, twice, disorder.
kinds=(steady away slow consumer link)
declare -A sum=()
failed=0 ran=0 done=0 messages=0 cuts=0 stops=0

row() { printf '%-16s %9s %6s %6s %6s %6s %6s %6s %13s  %s\n' "$@"; }

# word N NAME prints the Nth number of the line that begins with NAME; "" if there is none.
word() { { sed -nE "s/^ *[a-z_]+\.go:[0-9]+: $2: //p" "$work/out" | grep -oE '[0-9]+' | sed -n "$1p"; } || true; }

row 'round (seed)' messages kills cuts stops lost again twice 'out of order' ''
began=$SECONDS
for ((round = 1; done < kills; round++, seed++)); do
	now=$((kills - done < 20 ? kills - done : 20)) code=0
	(cd e2e && "$work/e2e.test" -test.v -test.count=1 -test.timeout 10m -test.run '^TestNothingIsLostThroughKillsAndCuts$' \
		-seed "$seed" -kills "$now" -stops $((round % 4 == 0))) >"$work/out" 2>&1 || code=$?
	ran=$((ran + 1)) done=$((done + now))
	verdict=ok lost=0 again=0 twice=0 disorder=0
	for kind in "${kinds[@]}"; do
		figures=()
		for i in 1 2 3 4; do figures+=("$(word $i "figures of $kind")"); done
		# A round without these words has proved nothing, whatever its exit code.
		[ -n "${figures[3]}" ] || { verdict='did not end'; continue; }
		lost=$((lost + figures[0])) again=$((again + figures[1]))
		twice=$((twice + figures[2])) disorder=$((disorder + figures[3]))
		for i in 0 1 2 3; do sum[$kind$i]=$((${sum[$kind$i]:-0} + figures[i])); done
	done
	killed=$(word 1 run)
	[ "$verdict" != ok ] || [ "${killed:-0}" -eq $now ] || verdict="${killed:-0} kills"
	if [ "$verdict" = ok ] && [ $code -ne 0 ]; then verdict=FAILED; fi
	messages=$((messages + $(word 4 run || true) + 0)) cuts=$((cuts + $(word 2 run || true) + 0)) stops=$((stops + $(word 3 run || true) + 0))
	if [ "$verdict" != ok ]; then
		failed=$((failed + 1))
		[ -n "$keep" ] || keep=$(mktemp -d -t crash-test.XXXXXX)
		mkdir -p "$keep"
		cp "$work/out" "$keep/seed-$seed.log"
		verdict="$verdict: $keep/seed-$seed.log"
	fi
	row "$round ($seed)" "$(word 4 run)" "$killed" "$(word 2 run)" "$(word 3 run)" $lost $again $twice $disorder "$verdict"
done
row "all $ran, $((SECONDS - began)) s" $messages $done $cuts $stops '' '' '' '' "$failed failed"
for kind in "${kinds[@]}"; do
	row "  $kind" '' '' '' '' "${sum[${kind}0]:--}" "${sum[${kind}1]:--}" "${sum[${kind}2]:--}" "${sum[${kind}3]:--}" ''
done
[ $failed -eq 0 ] || exit 1
