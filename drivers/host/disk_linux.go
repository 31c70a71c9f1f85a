package host

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// disk reads how full the file system of a path is, statfs(2), unless that is a
// network file system: the call would not return when its server is gone. What is
// mounted may change, so that is looked at each time.
func (m machine) disk(path string) (source, error) {
	if path == "" {
		return source{}, errNone
	}
	return source{
		channels: []drivers.Channel{
			{Name: "disk_free", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int},
			{Name: "disk_used", Quantity: drivers.Ratio, Unit: "%", Type: drivers.Float},
		},
		read: func() ([]any, error) {
			if err := m.near(path); err != nil {
				return nil, err
			}
			var st unix.Statfs_t
			if err := unix.Statfs(m.path(path), &st); err != nil {
				return nil, drivers.Explain(err, m.path(path), "", "set disk to a path that exists")
			}
			block := int64(st.Frsize) // the unit of the counts; Bsize is only a hint
			if block == 0 {
				block = int64(st.Bsize)
			}
			free, used, ok := room(st.Blocks, st.Bfree, st.Bavail, block)
			if !ok {
				return nil, fmt.Errorf("the file system of %s has no size: %w", path, errNone)
			}
			return []any{free, used}, nil
		},
	}, nil
}

// room counts as df(1) does: what only root may use is neither free nor used. ok is false
// for a file system without a size, or one of a program (FUSE) that tells what cannot be.
func room(blocks, unused, available uint64, block int64) (free int64, used float64, ok bool) {
	most := uint64(math.MaxInt64 / max(block, 1) / 2)
	if unused > blocks || blocks > most || available > most || blocks-unused+available == 0 || block < 1 {
		return 0, 0, false
	}
	taken, free := int64(blocks-unused), int64(available)
	return free * block, percent(taken, taken+free), true
}
