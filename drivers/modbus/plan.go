package modbus

import "slices"

// A span is what one request reads: neighbours of one table.
type span struct {
	table  string
	at     int // as on the wire
	count  int
	points []int // indices, by address
}

func (s span) request() request {
	function := map[string]byte{
		"coil": readCoils, "discrete": readDiscreteInputs, "holding": readHoldingRegisters, "input": readInputRegisters,
	}[s.table]
	return request{function: function, at: uint16(s.at), count: s.count}
}

// plan groups points for as few requests as possible: over gaps of at most so many
// registers (or bits) that nobody wants, and not beyond most of them in a request.
func plan(points []Point, which []int, first, gap, most int) []span {
	which = slices.Clone(which)
	slices.SortStableFunc(which, func(a, b int) int {
		if x, y := points[a].Table, points[b].Table; x != y {
			return slices.Index(tables(), x) - slices.Index(tables(), y)
		}
		return points[a].Address - points[b].Address
	})
	var spans []span
	for _, i := range which {
		p := points[i]
		at, end := p.Address-first, p.Address-first+p.width()
		limit := most
		if p.bits() {
			limit = mostBits * most / mostRegisters
		}
		if n := len(spans) - 1; n >= 0 {
			last := &spans[n]
			count := max(last.at+last.count, end) - last.at
			if last.table == p.Table && at-(last.at+last.count) <= gap && count <= limit {
				last.count = count
				last.points = append(last.points, i)
				continue
			}
		}
		spans = append(spans, span{p.Table, at, p.width(), []int{i}})
	}
	return spans
}

// split makes smaller spans of one that a unit refuses: first without the gaps, then
// two halves.
func (s span) split(points []Point, first int) []span {
	parts := plan(points, s.points, first, 0, mostRegisters)
	if len(parts) > 1 {
		return parts
	}
	half := len(s.points) / 2
	return append(plan(points, s.points[:half], first, 0, mostRegisters), plan(points, s.points[half:], first, 0, mostRegisters)...)
}
