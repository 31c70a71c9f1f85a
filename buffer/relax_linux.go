package buffer

import (
	"syscall"

	"go.etcd.io/bbolt"
)

// relax gives back the memory that the pages of the mapped file take in this
// process. They stay in the cache of the system and come back when they are read;
// without it a backlog that was read once counts as memory of the gateway. The
// caller is inside a transaction, so that the map stays where it is.
func relax(db *bbolt.DB, size int64) {
	if info := db.Info(); info.Data != 0 && size > 0 {
		// It is advice: if the system does not take it, nothing is wrong.
		syscall.Syscall(syscall.SYS_MADVISE, info.Data, uintptr(size), syscall.MADV_DONTNEED)
	}
}
