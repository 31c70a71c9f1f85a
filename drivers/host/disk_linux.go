package host

import (
	"fmt"

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
			// As df(1) counts: what only root may use is neither free nor used.
			used, free := int64(st.Blocks-st.Bfree), int64(st.Bavail)
			if used+free <= 0 {
				return nil, fmt.Errorf("the file system of %s has no size: %w", path, errNone)
			}
			return []any{free * block, percent(used, used+free)}, nil
		},
	}, nil
}
