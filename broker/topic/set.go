package topic

// indexFrom is the number of values from which a set finds them by a map. Most
// filters have one value; some have one for every client.
const indexFrom = 32

// set is the values of one filter. The zero set is empty.
type set[T comparable] struct {
	list  []T
	index map[T]int // place in list; nil while the set is small
}

func (s *set[T]) find(v T) int {
	if s.index != nil {
		if i, ok := s.index[v]; ok {
			return i
		}
		return -1
	}
	for i := range s.list {
		if s.list[i] == v {
			return i
		}
	}
	return -1
}

func (s *set[T]) add(v T) bool {
	if s.find(v) >= 0 {
		return false
	}
	s.list = append(s.list, v)
	if s.index != nil {
		s.index[v] = len(s.list) - 1
	} else if len(s.list) >= indexFrom {
		s.index = make(map[T]int, 2*indexFrom)
		for i, v := range s.list {
			s.index[v] = i
		}
	}
	return true
}

// remove fills the gap with the last value.
func (s *set[T]) remove(v T) bool {
	i := s.find(v)
	if i < 0 {
		return false
	}
	last := len(s.list) - 1
	s.list[i] = s.list[last]
	clear(s.list[last:])
	s.list = s.list[:last]
	if s.index != nil {
		delete(s.index, v)
		if i < last {
			s.index[s.list[i]] = i
		}
	}
	switch {
	case last == 0:
		*s = set[T]{}
	case last < indexFrom/2: // not at indexFrom, or one client that comes and goes would build it each time
		s.index = nil
	}
	return true
}

func (s *set[T]) each(yield func(v T)) {
	for _, v := range s.list {
		yield(v)
	}
}
