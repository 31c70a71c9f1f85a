#!/usr/bin/env bash
# Checks everything that can be checked on one machine, or with "fast" the part
# that is worth waiting for after each change.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/test.sh [fast]

	Runs every check of the project and stops at the first that fails. It needs Go;
	what else it needs it installs with apt where it may (root, or sudo without a
	password). Without: under CI=true a failure, elsewhere the step is skipped loudly.

	  fast    gofmt, vet, staticcheck, layers and the tests without the race detector

	FUZZ_SECONDS=60 sets the time for the packet decoder, which meets strangers;
	the other fuzz targets share half of it.
	One test: go test -run TestLayers .
	END
}

fast=
case "${1-}" in
	"") ;;
	fast | --fast) fast=yes ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."
# Debian keeps mosquitto where the PATH of a plain user does not look.
PATH=$PATH:/usr/sbin:/sbin
unset CGO_ENABLED GOOS GOARCH GOARM # the tests are for this machine
work=$(mktemp -d)
mqtt_js_version=5.16.0 # e2e/browser_test.go names it as well
mqtt_js_sha256=f3cbeae580d3010048938ee370f2db0c15d16e6f7fc147cb32ae5510e571b387
mqtt_js=${XDG_CACHE_HOME:-${HOME-}/.cache}/edgegateway/mqtt-$mqtt_js_version.min.js
began=$SECONDS summary=() skipped=() current='' policy=

# --- steps ------------------------------------------------------------------

die() { echo "test.sh: $*" >&2; exit 1; }

# step TITLE COMMAND...: runs it, notes how long it took, ends the run if it fails.
step() {
	local from=$SECONDS
	current=$1
	shift
	printf '\n=== %s\n' "$current"
	"$@" # not in a condition: inside of it bash would forget set -e
	summary+=("$(printf '%4d s  ok      %s' $((SECONDS - from)) "$current")")
	current=
}

# skip TITLE WHY: for a missing tool. Nobody reads the log of a green CI run.
skip() {
	if [ "${CI-}" = true ]; then
		current=$1
		die "$1 can not run: $2"
	fi
	printf '\n!!! SKIPPED: %s: %s\n' "$1" "$2" >&2
	summary+=("$(printf '%4d s  SKIPPED %s: %s' 0 "$1" "$2")")
	skipped+=("$1")
}

finish() {
	local code=$?
	[ -z "$policy" ] || as_root rm -f "$policy"
	if [ -s "$work/tests" ]; then
		printf '\n=== tests\n'
		grep -E '^(ok|FAIL)[[:space:]]|^[0-9]+ tests passed' "$work/tests" || true
	fi
	rm -rf "$work"
	printf '\n=== summary\n'
	[ ${#summary[@]} -eq 0 ] || printf '%s\n' "${summary[@]}"
	if [ $code -ne 0 ]; then
		[ -z "$current" ] || printf '        FAILED  %s\n' "$current"
		echo "FAIL: ${current:-the run} failed after $((SECONDS - began)) s; the reason stands above." >&2
	elif [ ${#skipped[@]} -ne 0 ]; then
		echo "ok, but ${#skipped[@]} steps were SKIPPED, $((SECONDS - began)) s"
	else
		echo "ok, $((SECONDS - began)) s"
	fi
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- tools ------------------------------------------------------------------

have() { command -v "$1" >/dev/null; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

may_install() { have apt-get && { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }; }

# emulator CPU prints the name of qemu-user for arm or aarch64: Debian 13 dropped -static.
emulator() {
	local name
	for name in "qemu-$1-static" "qemu-$1"; do
		if have "$name"; then echo "$name"; return; fi
	done
	return 1
}

# native TARGET: this machine runs it without an emulator.
native() { [ "$(go env GOHOSTARCH)" = "$1" ]; }

install_tools() {
	local packages=()
	have mosquitto || packages+=(mosquitto) # the real cloud broker
	have mosquitto_pub || packages+=(mosquitto-clients)
	have strace || packages+=(strace) # power cuts and failing disks
	have gcc || packages+=(gcc libc6-dev) # the race detector
	have chromium || packages+=(chromium) # MQTT over WebSocket as a page sees it
	have npm || [ -e "$mqtt_js" ] || packages+=(npm)
	if [ -z "$fast" ]; then
		emulator arm >/dev/null && { native arm64 || emulator aarch64 >/dev/null; } || packages+=(qemu-user-static)
	fi
	if [ ${#packages[@]} -eq 0 ]; then
		echo "nothing is missing"
	elif ! may_install; then
		echo "missing, and not mine to install: ${packages[*]}"
	else
		apt_install "${packages[@]}"
	fi
	[ -e "$mqtt_js" ] || ! have npm || fetch_mqtt_js
}

# fetch_mqtt_js keeps the client of most web pages outside of the tree. It is run
# by a browser in the tests, so it has to be the very file that was looked at.
fetch_mqtt_js() {
	echo "fetching mqtt.js $mqtt_js_version"
	(
		cd "$work"
		npm pack --silent "mqtt@$mqtt_js_version" >/dev/null &&
			tar -xzf "mqtt-$mqtt_js_version.tgz" package/dist/mqtt.min.js &&
			echo "$mqtt_js_sha256  package/dist/mqtt.min.js" | sha256sum --check --quiet &&
			mkdir -p "$(dirname "$mqtt_js")" &&
			mv package/dist/mqtt.min.js "$mqtt_js"
	) || echo "mqtt.js could not be fetched"
}

# apt_install installs without leaving a service behind: a broker on port 1883
# that nobody asked for is not a test tool.
apt_install() {
	echo "installing ${*}"
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		policy=/usr/sbin/policy-rc.d # removed below, or by finish
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
	{ "${apt[@]}" install --no-install-recommends -y "$@" ||
		{ "${apt[@]}" update && "${apt[@]}" install --no-install-recommends -y "$@"; }; } \
		>"$work/apt" 2>&1 || { tail -n 20 "$work/apt"; echo "apt-get could not install $*"; }
	if [ -n "$policy" ]; then
		as_root rm -f "$policy"
		policy=
	fi
	if [[ " $* " == *" mosquitto "* ]] && have systemctl; then
		as_root systemctl disable mosquitto.service >/dev/null 2>&1 || true # nor after the next boot
	fi
}

# --- checks -----------------------------------------------------------------

go_files() { # tracked and not yet tracked; without git all that are here
	{ git ls-files -co --exclude-standard -- '*.go' 2>/dev/null || find . -name '*.go'; } |
		while read -r file; do [ ! -e "$file" ] || echo "${file#./}"; done
}

check_gofmt() {
	local files wrong
	mapfile -t files < <(go_files)
	[ ${#files[@]} -gt 0 ] || { echo "no Go files found"; return 1; }
	wrong=$(gofmt -l "${files[@]}")
	[ -z "$wrong" ] || { printf 'not formatted, run gofmt -w on:\n%s\n' "$wrong"; return 1; }
	echo "${#files[@]} files are formatted"
}

# content WHAT: says how much was looked at, and that it was not nothing.
content() {
	local packages
	packages=$(go list ./... | wc -l)
	[ "$packages" -gt 0 ] || { echo "there are no packages"; return 1; }
	echo "$1 is content with $packages packages"
}

check_vet() {
	go vet ./...
	content "go vet"
}

check_vet_for() { # check_vet_for GOARCH GOARM
	# The flags of cross-build.sh, so that the compiled packages serve both.
	GOOS=linux GOARCH=$1 GOARM=$2 CGO_ENABLED=0 go vet -trimpath ./...
	content "go vet"
}

check_staticcheck() {
	go tool staticcheck ./...
	content staticcheck
}

check_layers() { # -count=1: a cached answer knows nothing of other packages' imports
	go test -count=1 -v -run '^TestLayers$' . | tee "$work/layers"
	grep -q '^--- PASS: TestLayers' "$work/layers" || { echo "TestLayers did not run"; return 1; }
}

# check_tests FLAG...: go test over all packages. The output of a package that
# fails is shown whole; of one that passes, what it skipped and its ok line.
check_tests() {
	go test "$@" -v ./... 2>&1 | awk '
		/^=== (RUN|PAUSE|CONT|NAME)/ { name = $3; next }
		/^PASS$/ { next }
		/^ +[^ ]+\.go:[0-9]+: / { said[name] = $0 "\n" } # the last words of a skipped test are its reason
		/^ *--- PASS/ { if (/^-/) passed++; next }
		/^ *--- SKIP/ { skipped++; skips = skips $0 "\n" said[$3] }
		{ block = block $0 "\n" }
		/^(ok|\?|FAIL)[ \t]/ {
			if ($1 == "FAIL") printf "%s", block
			else printf "%s%s\n", skips, $0
			fflush()
			block = skips = ""
			split("", said)
		}
		END {
			printf "%s%d tests passed, %d skipped\n", block, passed, skipped
			if (!passed) { print "no test passed"; exit 1 }
		}' | tee "$work/tests"
}

check_fuzz() {
	local found targets=() package name seconds all=${FUZZ_SECONDS:-60}
	while IFS=: read -r found name; do
		targets+=("$(dirname "$found") $name")
	done < <(go_files | grep '_test\.go$' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed 's/:func /:/')
	printf '%s\n' "${targets[@]-}" | grep -q '^broker/packet ' ||
		{ echo "the packet decoder has no fuzz target"; return 1; }
	for found in "${targets[@]}"; do
		read -r package name <<<"$found"
		seconds=$((all / 2 / ${#targets[@]}))
		[ $seconds -ge 5 ] || seconds=5
		[ "$package" != broker/packet ] || seconds=$all
		echo "$package $name for $seconds s"
		# No test but this one; minimizing is for people, not for a time limit.
		if go test -run '^$' -fuzz "^$name\$" -fuzztime "${seconds}s" -fuzzminimizetime 1s "./$package" >"$work/fuzz" 2>&1; then
			grep -q '^fuzz: elapsed' "$work/fuzz" || { cat "$work/fuzz"; echo "$name did not run"; return 1; }
			tail -n 2 "$work/fuzz"
			continue
		fi
		# Go's fuzzer at times reports its own time limit as a failure, and nothing else.
		if grep -q '^ *context deadline exceeded$' "$work/fuzz" &&
			! grep -qE 'Failing input|seed corpus entry|panic|fatal error|hung or terminated' "$work/fuzz"; then
			grep '^fuzz: elapsed' "$work/fuzz" | tail -n 1
			continue
		fi
		cat "$work/fuzz"
		show_find "$package" "$name"
		return 1
	done
}

# show_find PACKAGE NAME prints the input that the fuzzer wrote down: who has nothing but
# the log needs it.
show_find() {
	local file
	file=$(sed -n 's/^ *Failing input written to //p' "$work/fuzz" | tail -n 1)
	[ -n "$file" ] || return 0
	printf '\nThis input fails. As %s every run of the tests has it:\n' "$1/$file"
	cat "$1/$file"
	printf 'One run of it: go test -run %s ./%s\n' "$2/${file##*/}" "$1"
}

check_static() { go run scripts/elfcheck.go dist/gateway-linux-*; }

# An ARM1176 (Pi 1, Zero) stops at the first ARMv7 instruction; so this proves
# the armv6 binary is one only if it would not run the armv7 one.
check_armv6() {
	local qemu version
	qemu=$(emulator arm)
	version=$("$qemu" -cpu arm1176 dist/gateway-linux-armv6 version)
	echo "\"$version\" ran on an ARM1176"
	if { "$qemu" -cpu arm1176 dist/gateway-linux-armv7 version; } >/dev/null 2>&1; then
		echo "the armv7 binary runs on an ARM1176, too: this check proves nothing"
		return 1
	fi
	echo "and gateway-linux-armv7 does not, as it must be"
}

# The store's tests on 32 bits. Left out is what takes minutes in an emulator, and
# the power cut, which needs strace below the process.
check_store_armv6() {
	local qemu
	qemu=$(emulator arm)
	GOOS=linux GOARCH=arm GOARM=6 CGO_ENABLED=0 go test -c -o "$work/buffer.test" ./buffer
	(cd buffer && "$qemu" -cpu arm1176 "$work/buffer.test" -test.count=1 -test.short -test.v -test.timeout 5m \
		-test.skip 'PowerCut|ADamagedFile|TheMemoryOfAMigration|AMigrationThatIsCutShort|MoreKeysThan' \
		-emulator "$qemu") >"$work/armv6" 2>&1 || { grep -v '^=== ' "$work/armv6"; return 1; }
	echo "$(grep -c '^--- PASS' "$work/armv6") tests of the store passed on an ARM1176"
}

smoke() { # smoke TARGET CPU QEMU-ARGUMENT...
	local title="smoke run of $1" binary=dist/gateway-linux-$1 qemu=()
	if ! native "$1"; then
		qemu=("$(emulator "$2")") || { skip "$title" "qemu-$2 is missing (apt-get install qemu-user-static)"; return; }
		qemu+=("${@:3}")
	fi
	have mosquitto_pub || { skip "$title" "mosquitto_pub is missing (apt-get install mosquitto-clients)"; return; }
	step "$title" scripts/smoke.sh "$binary" "${qemu[@]}"
}

# --- the run ----------------------------------------------------------------

have go || die "go is missing; see https://go.dev/doc/install"
echo "$(go version), $(getconf _NPROCESSORS_ONLN) processors"

step "tools" install_tools
have mosquitto || skip "tests against a real Mosquitto" "mosquitto is missing (apt-get install mosquitto)"
have strace || skip "tests of power cuts and failing disks" "strace is missing (apt-get install strace)"
have chromium || skip "tests in a browser" "chromium is missing (apt-get install chromium)"
[ -e "$mqtt_js" ] || skip "tests in a browser" "mqtt.js is missing (npm fetches it)"

step "gofmt" check_gofmt
step "vet" check_vet
if [ -z "$fast" ]; then
	step "vet for arm v6" check_vet_for arm 6
	step "vet for arm v7" check_vet_for arm 7
	step "vet for arm64" check_vet_for arm64 ''
fi
step "staticcheck" check_staticcheck
step "layers" check_layers

if [ -n "$fast" ]; then
	step "tests" check_tests -timeout 4m
	exit
fi

if have gcc; then
	step "tests with the race detector" check_tests -race -count=1 -timeout 10m
else
	skip "the race detector" "gcc is missing (apt-get install gcc libc6-dev)"
	step "tests" check_tests -count=1 -timeout 10m
fi
step "fuzzing" check_fuzz
step "cross-build" scripts/cross-build.sh
step "static binaries" check_static
if emulator arm >/dev/null; then
	step "arm v6 is arm v6" check_armv6
	step "the store on arm v6" check_store_armv6
else
	skip "arm v6 is arm v6" "qemu-arm is missing (apt-get install qemu-user-static)"
fi
smoke amd64 x86_64
smoke armv6 arm -cpu arm1176
smoke arm64 aarch64
