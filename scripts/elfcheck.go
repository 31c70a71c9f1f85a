//go:build ignore

// elfcheck fails if one of the given programs needs anything but a Linux kernel:
// an interpreter (the dynamic linker) or a shared library. It also holds the
// file name's last word (armv6, armv7, arm64, amd64) against the ELF header.
//
//	go run scripts/elfcheck.go dist/gateway-linux-*
package main

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var machines = map[string]elf.Machine{
	"armv6": elf.EM_ARM,
	"armv7": elf.EM_ARM,
	"arm64": elf.EM_AARCH64,
	"amd64": elf.EM_X86_64,
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "elfcheck: no program given")
		os.Exit(2)
	}
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "elfcheck: %s: %v\n", path, err)
			os.Exit(1)
		}
		fmt.Println(path, "is static")
	}
}

func check(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := filepath.Base(path)
	if want, ok := machines[name[strings.LastIndex(name, "-")+1:]]; ok && f.Machine != want {
		return fmt.Errorf("is for %v, want %v", f.Machine, want)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("is dynamically linked (%v); build it with CGO_ENABLED=0", p.Type)
		}
	}
	return nil
}
