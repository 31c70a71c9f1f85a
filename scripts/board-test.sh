#!/usr/bin/env bash
# Runs the gateway on emulated boards: real kernels of Debian, drivers and character
# devices, and hardware of QEMU that the tests move while the gateway uses it.
set -euo pipefail

usage() {
	cat <<-END
	usage: scripts/board-test.sh [--install] [--kvm] [--keep DIR] [BOARD...]

	Builds the gateway and the tests of e2e/board_*_test.go, boots each board into them
	and prints a line for each check. Five minutes on a machine that does nothing else; the
	first time one more.

	  pc       x86-64: a GPIO chip with driven edges (gpio-sim), a USB serial adapter that
	           is unplugged, an SMBus controller (i2c-stub); only on a machine of that kind
	  ast2600  ARM, with the build for arm v6: I2C controllers with TMP105 sensors, the
	           GPIO of the board, a USB adapter for I2C (MCP2221A) with chips that do not
	           hear well, need long or never answer
	  raspi2   ARM, with the build for arm v6: the GPIO of a Raspberry Pi 2, an I2C bus
	           with a TMP105, and one that somebody holds low
	  raspi3   ARM of 64 bits, with that build: the same on a Raspberry Pi 3, and more chips:
	           a TMP421, an EEPROM, a magnetometer that the kernel has, a TMP105 behind a
	           multiplexer; and a USB serial adapter that the kernel loses and finds again

	  --install   install with apt what is missing; this alone needs root
	  --kvm       let the processor run the PC; TCG does without and is fast enough
	  --keep DIR  where the output of the boards goes; without it nowhere unless a check
	              fails

	An x86-64 that is emulated by QEMU 7.2, and by 10.0 as well, is not quite one: after a
	page fault in the middle of it, SETcc stores a wrong flag. A crash on the pc that nobody
	can explain, and that --kvm does not show, may be that.

	It needs Debian 12, QEMU, busybox, cpio, kmod, dtc, gcc and make. Kernels come by
	apt-get download, without root and without being installed, into
	~/.cache/edgegateway/boards (500 MB while it unpacks them, 180 MB after); remove that to
	get newer ones. So does, for the Raspberry Pi, the QEMU of bookworm-backports where the
	one that is installed is older than 9: it has nothing behind their I2C controllers.
	END
}

die() { echo "board-test.sh: $*" >&2; exit 2; }

install='' accel=tcg keep='' boards=()
while [ $# -gt 0 ]; do
	case $1 in
		--install) install=yes ;;
		--kvm) accel=kvm ;;
		--keep) [ -n "${2-}" ] || die "--keep takes a directory"; mkdir -p "$2"; keep=$(realpath "$2"); shift ;;
		-h | --help) usage; exit 0 ;;
		pc | ast2600 | raspi2 | raspi3) boards+=("$1") ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
if [ ${#boards[@]} -eq 0 ]; then
	[ "$(dpkg --print-architecture)" != amd64 ] || boards+=(pc)
	boards+=(ast2600 raspi2 raspi3)
fi

if [ -n "$install" ]; then
	apt-get -qq install -y --no-install-recommends qemu-system-x86 qemu-system-arm seabios ipxe-qemu \
		busybox-static cpio kmod device-tree-compiler gcc make xz-utils >/dev/null
fi
for tool in go qemu-system-x86_64 qemu-system-arm qemu-system-aarch64 cpio depmod modprobe fdtput gcc make xz; do
	command -v "$tool" >/dev/null || die "$tool is missing; --install installs all but Go"
done

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgegateway/boards
work=$(mktemp -d)
qemu=
finish() {
	[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$cache"

# --- what comes from Debian -------------------------------------------------

# debian ARCH TOOL ARGUMENT... is apt for another architecture, which this machine is
# not told of: its lists are in the cache. With backports for ARCH it is the machine's
# own, and what Debian has made of newer versions for it.
debian() {
	local arch=$1 tool=$2 state=$cache/apt-$1 sources=()
	shift 2
	mkdir -p "$state/lists/partial" "$state/archives/partial"
	touch "$state/status"
	if [ "$arch" = backports ]; then
		arch=$(dpkg --print-architecture)
		echo "deb $(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 'Origin: Debian' | head -n 1) bookworm-backports main" >"$state/sources.list"
		sources=(-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null)
	fi
	"$tool" "${sources[@]}" -q -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State="$state" -o Dir::State::lists="$state/lists" \
		-o Dir::State::status="$state/status" -o Dir::Cache="$state" -o Acquire::Languages=none -o APT::Sandbox::User= "$@"
}

# fetch ARCH PACKAGE... downloads packages to $work/deb-ARCH. An update that fails in
# part is as good, if what is wanted is known.
fetch() {
	local arch=$1
	shift
	mkdir -p "$work/deb-$arch"
	[ -n "$(find "$cache/apt-$arch/lists" -name '*_Packages*' -mmin -60 2>/dev/null)" ] || debian "$arch" apt-get update >"$work/apt" 2>&1 || true
	(cd "$work/deb-$arch" && debian "$arch" apt-get download "$@") >>"$work/apt" 2>&1 || { tail "$work/apt" >&2; die "Debian's packages for $arch can not be had"; }
}

# pi_qemu sets qemu_pi to a QEMU with I2C on Raspberry Pis, which began with 9.0. That
# of the backports needs libraries which the one of Debian 12 needs as well.
pi_qemu() {
	local version
	qemu_pi='qemu-system-aarch64'
	version=$($qemu_pi --version | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
	[ "$version" -lt 9 ] || return 0
	qemu_pi=$cache/qemu/qemu-system-aarch64
	[ ! -x "$qemu_pi" ] || return 0
	echo "fetching a newer QEMU for the Raspberry Pi"
	fetch backports qemu-system-arm
	dpkg-deb -x "$work"/deb-backports/qemu-system-arm_*.deb "$work/qemu"
	"$work/qemu/usr/bin/qemu-system-aarch64" --version >"$work/apt" 2>&1 || { cat "$work/apt" >&2; die "the QEMU of bookworm-backports does not start"; }
	install -D "$work/qemu/usr/bin/qemu-system-aarch64" "$qemu_pi.new"
	mv "$qemu_pi.new" "$qemu_pi"
	rm -rf "$work/qemu" "$work/deb-backports"
}

# board_files NAME ARCH METAPACKAGE MODULE... makes $cache/NAME: kernel, dtb, and a root
# of busybox and of the modules that are wanted.
board_files() {
	local name=$1 arch=$2 meta=$3 dir=$cache/$1 tree=$work/$1 image release file
	shift 3
	[ "$(cat "$dir/complete" 2>/dev/null)" != "$*" ] || return 0
	echo "fetching a kernel for $name"
	rm -rf "$dir"
	fetch "$arch" "$meta"
	image=$(dpkg-deb -f "$work/deb-$arch/$meta"_*.deb Depends | grep -oE 'linux-image-[0-9][^ ,]*' | head -n 1)
	release=${image#linux-image-}
	fetch "$arch" "$image" busybox-static
	for file in "$work/deb-$arch/$image"_*.deb "$work/deb-$arch"/busybox-static_*.deb; do dpkg-deb -x "$file" "$tree"; done
	[ "$name" != pc ] || gpio_sim "$release" "$tree/lib/modules/$release/extra"
	mkdir -p "$dir"/root/{bin,dev,proc,sys,tmp,etc,test,lib/modules/"$release"}
	cp "$tree/bin/busybox" "$dir/root/bin/"
	depmod -b "$tree" "$release"
	for file in "$@"; do
		modprobe -d "$tree" -S "$release" --show-depends "$file" | awk '$1 == "insmod" { print $2 }'
	done | sort -u | while read -r file; do
		install -D "$file" "$dir/root/lib/modules/$release/${file#*"/modules/$release/"}"
	done
	cp "$tree/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$dir/root/lib/modules/$release/"
	depmod -b "$dir/root" "$release"
	cp "$tree"/boot/vmlinuz-* "$dir/kernel"
	case $name in
		ast2600) cp "$tree/usr/lib/linux-image-$release/aspeed-ast2600-evb.dtb" "$dir/dtb" ;;
		raspi2) cp "$tree/usr/lib/linux-image-$release/bcm2836-rpi-2-b.dtb" "$dir/dtb" ;;
		raspi3) cp "$tree/usr/lib/linux-image-$release/broadcom/bcm2837-rpi-3-b.dtb" "$dir/dtb" ;;
	esac
	echo "$*" >"$dir/complete"
	rm -rf "$tree" "$work/deb-$arch"
}

# gpio_sim RELEASE DIR builds the kernel's own simulator of GPIO chips, which Debian
# leaves out, from the source of that kernel. The simulator of interrupts belongs to the
# kernel proper and is built in; only there may handle_simple_irq be called like that.
gpio_sim() {
	local version=${1%%-*} common=${1%-*}-common headers=$work/headers src=$work/source mod=$work/gpio-sim file
	version=${version%.*} # 6.1 of 6.1.0-56-amd64
	echo "building gpio-sim for $1"
	fetch amd64 "linux-headers-$1" "linux-headers-$common" "linux-kbuild-$version" "linux-source-$version"
	for file in "$work"/deb-amd64/linux-{headers,kbuild}-*.deb; do dpkg-deb -x "$file" "$headers"; done
	mkdir -p "$src" "$mod" "$2"
	dpkg-deb --fsys-tarfile "$work"/deb-amd64/linux-source-*.deb | tar -xO "./usr/src/linux-source-$version.tar.xz" |
		xz -dc | tar -x -C "$src" --strip-components=1 --wildcards '*/drivers/gpio/gpio*.[ch]' '*/kernel/irq/irq_sim.c'
	cp "$src/drivers/gpio/gpio-sim.c" "$src/drivers/gpio/gpiolib.h" "$mod/"
	sed 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq(irqnum)/; /^EXPORT_SYMBOL/d' "$src/kernel/irq/irq_sim.c" >"$mod/irq_sim.c"
	printf 'obj-m := gpio_sim.o\ngpio_sim-y := gpio-sim.o irq_sim.o\n' >"$mod/Kbuild"
	sed -i "s#/usr/src/#$headers/usr/src/#g" "$headers/usr/src/linux-headers-$1/Makefile"
	make -s -C "$headers/usr/src/linux-headers-$1" M="$mod" modules >"$work/make" 2>&1 || { tail "$work/make" >&2; die "gpio-sim does not build"; }
	cp "$mod/gpio_sim.ko" "$2/"
}

# --- a run ------------------------------------------------------------------

# init is the first and only program of a board. Its console is a file here.
init() { # init CONSOLE MODULE...
	cat <<-END
	#!/bin/busybox sh
	/bin/busybox mkdir -p /usr/bin /usr/sbin /sbin
	/bin/busybox --install -s /bin
	export PATH=/bin HOME=/tmp
	mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
	mkdir -p /dev/pts; mount -t devpts pts /dev/pts
	mount -t tracefs tracefs /sys/kernel/tracing; mount -t debugfs debugfs /sys/kernel/debug
	exec </dev/null >/dev/$1 2>&1
	stty -opost </dev/$1
	ip link set lo up
	for m in ${*:2}; do modprobe \$m || echo "no module \$m"; done
	mount -t configfs configfs /sys/kernel/config
	echo root:x:0:0::/:/bin/sh >/etc/passwd; echo lab:x:1000:1000::/tmp:/bin/sh >>/etc/passwd
	echo root:x:0: >/etc/group; echo lab:x:1000: >>/etc/group
	cd /test
	./gpio.test -test.run '^TestKernel' -test.v -test.timeout 30s
	lines=\$?
	./e2e.test -board $board -gateway /test/gateway -test.run '^TestOnABoard\$' -test.v -test.timeout 240s
	code=\$?; [ \$lines -eq 0 ] || code=\$lines; echo; echo "the board ends with \$code"
	sleep 60
	END
}

# device_tree NAME makes $work/NAME.dtb of the one that the kernel has for a board.
device_tree() {
	local name=$1 dtb=$work/$1.dtb
	cp "$cache/$name/dtb" "$dtb"
	case $name in
		ast2600) fdtput -t s "$dtb" /ahb/apb/serial@1e783000 status okay ;; # the line to QEMU's monitor
		raspi2 | raspi3)
			fdtput -t s "$dtb" /soc/serial@7e215040 status okay # the line to QEMU's monitor
			# A bus that somebody holds low: no transfer ends in a controller of which the
			# registers are where QEMU has nothing (those of the I2C slave).
			fdtput -t x "$dtb" /soc/i2c@7e205000 reg 7e214000 200
			;;
	esac
	# The Raspberry Pi 3 has its Bluetooth at the line that is the console here.
	[ "$name" != raspi3 ] || fdtput -r "$dtb" /soc/serial@7e201000/bluetooth
}

# run BOARD GOARCH CONSOLE MODULES QEMU-ARGUMENT... boots a board, and shows what it
# says as lines. The machine is ended from here when it has said its last.
run() {
	local board=$1 arch=$2 console=$3 modules=$4 out=$work/$1.out root=$work/$1.root
	shift 4
	mkdir -p "$root/test"
	# shellcheck disable=SC2086 # words
	init "$console" $modules >"$root/init"
	chmod 755 "$root/init"
	GOARCH=$arch GOARM=6 CGO_ENABLED=0 go build -trimpath -o "$root/test/gateway" ./cmd/gateway
	GOARCH=$arch GOARM=6 CGO_ENABLED=0 go test -c -o "$root/test/e2e.test" ./e2e
	GOARCH=$arch GOARM=6 CGO_ENABLED=0 go test -c -o "$root/test/gpio.test" ./drivers/gpio
	{
		(cd "$cache/$board/root" && find . | cpio -o -H newc --quiet)
		(cd "$root" && find . | cpio -o -H newc --quiet)
	} >"$work/$board.initrd"
	: >"$out"
	"$1" -display none -nodefaults -no-reboot -serial "file:$out" \
		-chardev "socket,id=monitor,path=$work/monitor,server=on,wait=off" -mon chardev=monitor,mode=control -serial "unix:$work/monitor" \
		-kernel "$cache/$board/kernel" -initrd "$work/$board.initrd" -append "console=hvc0 quiet mitigations=off maxcpus=2 panic=-1" \
		"${@:2}" >"$work/$board.qemu" 2>&1 &
	qemu=$!
	local deadline=$((SECONDS + 300)) code=''
	while kill -0 "$qemu" 2>/dev/null && [ $SECONDS -lt $deadline ]; do
		code=$(tr -d '\r' <"$out" | sed -n 's/^the board ends with //p')
		[ -z "$code" ] || break
		sleep 0.5
	done
	kill "$qemu" 2>/dev/null || true
	wait "$qemu" 2>/dev/null || true
	qemu=
	rm -f "$work/monitor"
	tr -d '\r' <"$out" >"$out.text"
	# TestKernelGivesEdges is a claim as well.
	sed -nE 's/^ {4}--- (PASS|FAIL): TestOnABoard\/(.*) \((.*)s\)$/\1 \3 \2/p; s/^--- (PASS|FAIL): Test(Kernel.*) \((.*)s\)$/\1 \3 \2/p' "$out.text" |
		sed -E '/ Kernel/s/([a-z])([A-Z])/\1_\l\2/g; s/ Kernel/ the_kernel/' | while read -r verdict took claim; do
		printf '%-8s %-6s %6s s  %s\n' "$board" "$([ "$verdict" = PASS ] && echo ok || echo FAILED)" "$took" "${claim//_/ }"
	done
	local passed wrong
	passed=$(grep -cE '^ *--- PASS: Test(OnABoard/|Kernel)' "$out.text" || true)
	wrong=$(grep -cE '^ *--- FAIL: Test(OnABoard/|Kernel)' "$out.text" || true)
	checks=$((checks + passed + wrong))
	[ -z "$keep" ] || cp "$out.text" "$keep/$board.log"
	# A board that says nothing has proved nothing.
	if [ "${code:-none}" != 0 ] || [ "$wrong" -ne 0 ] || [ "$passed" -eq 0 ]; then
		failed=$((failed + 1))
		[ -n "$keep" ] || keep=$(mktemp -d -t board-test.XXXXXX)
		cat "$out.text" "$work/$board.qemu" >"$keep/$board.log"
		printf '%-8s FAILED           the tests end with %s: %s\n' "$board" "${code:-no word}" "$keep/$board.log"
	fi
}

checks=0 failed=0 began=$SECONDS
for board in "${boards[@]}"; do
	case $board in
		pc)
			modules="configfs gpio_sim xhci_pci ftdi_sio"
			# shellcheck disable=SC2086
			board_files pc amd64 linux-image-amd64 $modules i2c-dev i2c-stub
			run pc amd64 ttyS0 "$modules" qemu-system-x86_64 -M q35 -accel "$accel" -cpu "$([ "$accel" = kvm ] && echo host || echo max)" -m 512 \
				-device qemu-xhci,id=usb -chardev "socket,id=far,path=$work/far,server=on,wait=off" -serial "unix:$work/far"
			;;
		ast2600)
			modules="i2c-aspeed gpio-aspeed i2c-dev configfs hid-mcp2221 usbhid usb_f_hid dummy_hcd"
			# shellcheck disable=SC2086
			board_files ast2600 armhf linux-image-armmp $modules lm75
			device_tree ast2600
			run ast2600 arm ttyS4 "$modules" qemu-system-arm -M ast2600-evb -dtb "$work/ast2600.dtb" -nic none \
				-device tmp105,bus=aspeed.i2c.bus.3,address=0x48,id=tank -device tmp105,bus=aspeed.i2c.bus.8,address=0x4e,id=raw
			;;
		raspi2)
			modules="i2c-bcm2835 i2c-dev configfs"
			# shellcheck disable=SC2086
			board_files raspi2 armhf linux-image-armmp $modules
			device_tree raspi2
			pi_qemu
			run raspi2 arm ttyAMA0 "$modules" "$qemu_pi" -M raspi2b -dtb "$work/raspi2.dtb" \
				-device tmp105,bus=i2c-bus.1,address=0x48,id=tank
			;;
		raspi3)
			modules="i2c-bcm2835 i2c-dev configfs bcm2835_thermal dwc2 phy-generic ftdi_sio"
			# shellcheck disable=SC2086
			board_files raspi3 arm64 linux-image-arm64 $modules st_magn_i2c
			device_tree raspi3
			pi_qemu
			run raspi3 arm64 ttyAMA0 "$modules" "$qemu_pi" -M raspi3b -dtb "$work/raspi3.dtb" \
				-device tmp105,bus=i2c-bus.1,address=0x48,id=tank -device tmp421,bus=i2c-bus.1,address=0x4c,id=remote \
				-device at24c-eeprom,bus=i2c-bus.1,address=0x50,rom-size=4096 -device lsm303dlhc_mag,bus=i2c-bus.1,address=0x1e,id=compass \
				-device pca9546,bus=i2c-bus.1,address=0x70 -device tmp105,bus=i2c.0,address=0x49,id=loose \
				-device usb-hub,port=1 -chardev "socket,id=far,path=$work/far,server=on,wait=off" -chardev "socket,id=near,path=$work/far" \
				-device usb-serial,port=1.1,chardev=near -device usb-serial,port=1.2,chardev=far
			;;
	esac
done
if [ $failed -ne 0 ]; then
	echo "FAIL: $failed of ${#boards[@]} boards, $checks checks, $((SECONDS - began)) s"
	exit 1
fi
echo "ok, $checks checks on ${#boards[@]} boards, $((SECONDS - began)) s"
