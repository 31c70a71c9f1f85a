package host

import (
	"math"
	"testing"
)

func TestRoomOfAFileSystem(t *testing.T) {
	for _, c := range []struct {
		blocks, unused, available uint64
		block                     int64
		free                      int64
		used                      float64
		ok                        bool
	}{
		{1000, 300, 200, 4096, 200 * 4096, 77.8, true}, // 100 for root
		{1000, 0, 0, 4096, 0, 100, true},
		{0, 0, 0, 4096, 0, 0, false},
		{1 << 48, 1 << 48, 1 << 48, 4096, 1 << 60, 0, true},
		{math.MaxUint64, math.MaxUint64, math.MaxUint64, 4096, 0, 0, false},
		{1 << 61, 1 << 61, 1 << 61, 1 << 20, 0, 0, false},
		{10, 20, 10, 4096, 0, 0, false},
		{10, 5, 5, 0, 0, 0, false},
	} {
		free, used, ok := room(c.blocks, c.unused, c.available, c.block)
		if free != c.free || used != c.used || ok != c.ok {
			t.Errorf("%d, %d, %d blocks of %d: %d B, %v %%, %v", c.blocks, c.unused, c.available, c.block, free, used, ok)
		}
	}
}
