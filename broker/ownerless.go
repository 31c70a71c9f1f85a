package broker

import (
	"encoding/binary"
	"strconv"
	"strings"

	"edgegateway/buffer"
)

// Ownerless returns the names of the queues of clients of which a store has no session:
// damage took it, and the queue stayed. Nobody drains or drops them. To be asked while
// no client can connect; no session that begins later gets one of these queues.
func Ownerless(store *buffer.Store) (queues []string, err error) {
	has := make(map[uint64]bool)
	err = openTables(store).sessions.Each(func(key, value []byte) error {
		if len(key) == 8 && len(value) >= 13 { // as load takes it
			has[binary.BigEndian.Uint64(key)] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range store.Queues() {
		if !strings.HasPrefix(name, clientQueues) {
			continue
		}
		generation, err := strconv.ParseUint(name[strings.LastIndexByte(name, '/')+1:], 16, 64)
		if err == nil && !has[generation] {
			queues = append(queues, name)
		}
	}
	return queues, nil
}
