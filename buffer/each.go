package buffer

// Each calls fn with every entry that is not acknowledged, the highest lane first
// and inside a lane in order, until fn returns false. Nothing is handed out, and
// the queue need not be attached; entries whose Change is not committed yet are
// among them. No lock is held while fn runs, so what comes and goes meanwhile may
// be missed or seen. Damaged records, and what is left of purged ones, are left out.
// Data must not be modified.
//
// A long queue is read from disk in chunks.
func (q *Queue) Each(fn func(Entry) bool) error {
	for i := Lanes - 1; i >= 0; i-- {
		for from, more := uint64(0), true; more; {
			var list []walked
			var err error
			if list, from, more, err = q.entries(uint8(i), from); err != nil {
				return err
			}
			for j := range list {
				if !list[j].purged && !fn(list[j].Entry) {
					return nil
				}
			}
		}
	}
	return nil
}

func (q *Queue) entries(lane uint8, from uint64) (list []walked, next uint64, more bool, err error) {
	next, more, err = q.step(lane, from, true, func(l []walked) { list = l }, nil)
	return list, next, more, err
}
