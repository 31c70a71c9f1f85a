#!/usr/bin/env bash
# Builds the gateway for the boards it runs on: static binaries, no C compiler.
set -euo pipefail

all="armv6 armv7 arm64 amd64"

usage() {
	cat <<-END
	usage: scripts/cross-build.sh [TARGET]

	Builds dist/gateway-linux-TARGET and dist/SHA256SUMS; without TARGET all of them:
	  armv6   Raspberry Pi 1, Zero, Zero W (runs on every later Pi, too)
	  armv7   Raspberry Pi 2 and later with a 32-bit system
	  arm64   Raspberry Pi 3 and later with a 64-bit system
	  amd64   PC

	VERSION=1.2.3 sets the version; default: git describe, without git "dev".
	Example: scripts/cross-build.sh arm64
	END
}

die() { echo "cross-build: $*" >&2; exit 1; }

case "${1-}" in
	-h | --help) usage; exit 0 ;;
	"") targets=$all ;;
	armv6 | armv7 | arm64 | amd64) targets=$1 ;;
	*) usage >&2; die "unknown target \"$1\"; the targets are $all" ;;
esac
[ $# -le 1 ] || { usage >&2; die "one target at most"; }

cd "$(dirname "$0")/.."

# A source archive may lie inside somebody else's repository; only our own tells
# our version.
version=dev commit=
if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ]; then
	version=$(git describe --tags --always --dirty 2>/dev/null) || version=dev
	commit=$(git rev-parse --short=12 HEAD 2>/dev/null) || commit=
fi
version=${VERSION:-$version}

sums() { # of the files given; sha256sum is GNU, shasum comes with macOS
	if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

mkdir -p dist
echo "version $version, commit ${commit:-unknown}, $(go env GOVERSION)"
for target in $targets; do
	case $target in
		armv6) arch=arm arm=6 ;;
		armv7) arch=arm arm=7 ;;
		*) arch=$target arm= ;;
	esac
	out=dist/gateway-linux-$target
	# -buildvcs=false: the version is given above, and the build must not fail
	# where git is missing or distrusts the owner of the checkout.
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOARM=$arm go build \
		-trimpath -buildvcs=false \
		-ldflags "-s -w -X main.version=$version -X main.commit=$commit" \
		-o "$out" ./cmd/gateway || die "$target does not build; see above"
done

cd dist
sums gateway-linux-* >SHA256SUMS
for target in $targets; do
	file=gateway-linux-$target
	printf '%-22s %6d KiB  sha256 %s\n' "dist/$file" $(($(wc -c <"$file") / 1024)) \
		"$(sed -n "s/  $file\$//p" SHA256SUMS)"
done
