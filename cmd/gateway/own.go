package main

import (
	"fmt"
	"os"
	"syscall"
)

// ownLikeDir gives files to who owns the directory, when root made them for the
// gateway's user.
func ownLikeDir(dir string, files ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	for _, f := range files {
		if err := os.Chown(f, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("give the file to the gateway's user: %w", err)
		}
	}
	return nil
}
