package journal

import (
	"slices"
	"sort"
)

// volume is one open journal volume.
type volume struct {
	number int // from 1; never given to another one
	file   File
	data   uint64   // bytes of the data area
	since  Position // from where on it is filled: where the layout begins that added it, or earlier, see reach; 0 for those that Create made
}

// span is a stretch of positions that stands in one journal volume from the beginning of its data area on.
type span struct {
	start, end Position
	vol        *volume // nil: nothing is mapped here
}

// plan is the map from positions to places in journal volumes: spans one after the other up to base, and from there on the volumes of the
// cycle round after round. It never changes; a change of the layout makes the next one.
type plan struct {
	table    []*volume // all of the past and of the cycle, by number; at most MaxVolumes
	past     []span    // without gaps, ends at base; begins with the span that was the first needed one
	base     Position
	cycle    []*volume
	starts   []Position // of the volumes of the cycle, counted from base
	capacity uint64     // bytes of the cycle
	tidyAt   Position   // freed up to here, a volume outside the cycle is no longer needed; MaxPosition if there is none
}

// newPlan completes a plan from what the layout says. It keeps the slices.
func newPlan(past []span, base Position, cycle []*volume) *plan {
	m := &plan{past: past, base: base, cycle: cycle, table: slices.Clone(cycle), tidyAt: MaxPosition}
	for _, v := range cycle {
		m.starts = append(m.starts, Position(m.capacity))
		m.capacity += v.data
	}
	last := map[*volume]Position{}
	for _, s := range past {
		if slices.Contains(cycle, s.vol) {
			continue
		}
		if _, ok := last[s.vol]; !ok {
			m.table = append(m.table, s.vol)
		}
		last[s.vol] = s.end
	}
	for _, end := range last {
		m.tidyAt = min(m.tidyAt, end)
	}
	sort.Slice(m.table, func(a, b int) bool { return m.table[a].number < m.table[b].number })
	return m
}

// at gives the span that holds p; p stands at p - start in its data area. Before everything that is mapped it is empty.
func (m *plan) at(p Position) span {
	if p < m.base {
		i := sort.Search(len(m.past), func(i int) bool { return m.past[i].end > p })
		if i == len(m.past) || p < m.past[i].start {
			return span{start: p, end: p}
		}
		return m.past[i]
	}
	x := (p - m.base) % Position(m.capacity)
	i := sort.Search(len(m.starts), func(i int) bool { return m.starts[i] > x }) - 1
	start := p - (x - m.starts[i])
	return span{start, start + Position(m.cycle[i].data), m.cycle[i]}
}

// limit is how far the journal may grow when everything before freed may be overwritten: up to the first place in which something
// stands that is needed. The page of freed may still hold live records.
func (m *plan) limit(freed Position) Position {
	f := pageFloor(freed)
	if f >= m.base {
		return f + Position(m.capacity)
	}
	first := m.at(f)
	used := make([]*volume, 0, MaxVolumes)
	for s := m.at(first.end); ; s = m.at(s.end) {
		if off := f - first.start; s.vol == first.vol && s.start+off < s.end && !slices.Contains(used, s.vol) {
			return s.start + off
		}
		if slices.Contains(used, s.vol) || s.vol == nil {
			return s.start
		}
		used = append(used, s.vol)
	}
}

// total is the size of all data areas, those that are leaving included.
func (m *plan) total() (n uint64) {
	for _, v := range m.table {
		n += v.data
	}
	return n
}

// find gives the journal volume of that number, nil if there is none.
func (m *plan) find(number int) *volume {
	for _, v := range m.table {
		if v.number == number {
			return v
		}
	}
	return nil
}

// then gives the plan that has the cycle from base on and is as before up to there. What lies before freed is dropped, and with it the
// journal volumes that nothing needs.
func (m *plan) then(freed, base Position, cycle []*volume) *plan {
	var past []span
	for p := pageFloor(freed); p < base; {
		s := m.at(p)
		s.end = min(s.end, base)
		past = append(past, s)
		p = s.end
	}
	return newPlan(past, base, cycle)
}

// order is the cycle as it is met from p on, the beginning of a span or the base.
func (m *plan) order(p Position) []*volume {
	i := 0
	if p > m.base {
		i = slices.Index(m.cycle, m.at(p).vol)
	}
	return append(slices.Clone(m.cycle[i:]), m.cycle[:i]...)
}

// boundary is where the next layout can begin at the earliest without cutting a span: the end of the one that is being filled.
func (m *plan) boundary(tail Position) Position {
	if tail <= m.base {
		return m.base
	}
	if s := m.at(tail); s.start < tail {
		return s.end
	}
	return tail
}

// add gives the plan in which v comes next when the journal volume that is being filled is full.
func (m *plan) add(freed, tail Position, v *volume) *plan {
	base := m.boundary(tail)
	v.since = base
	return m.then(freed, base, append([]*volume{v}, m.order(base)...))
}

// remove gives the plan without v from the end of the journal volume that is being filled on; if that is v itself, from the end of the
// page in which the tail lies, so that it does not have to be filled before it can go. v is in the cycle, and not alone there.
func (m *plan) remove(freed, tail Position, v *volume) *plan {
	base := m.boundary(tail)
	cycle := slices.DeleteFunc(m.order(base), func(x *volume) bool { return x == v })
	if s := m.at(tail); s.vol == v && s.start < tail && s.end == base {
		base = pageCeil(tail)
	}
	return m.then(freed, base, cycle)
}

// reach notes that volumes of the cycle are filled earlier than the layout that added them had it: the one that was being filled, behind which they
// came, was removed. Nobody else looks at the volumes meanwhile.
func (m *plan) reach() {
	for i, v := range m.cycle {
		v.since = min(v.since, m.base+m.starts[i])
	}
}

// tidy gives the plan without what lies before freed.
func (m *plan) tidy(freed Position) *plan {
	if pageFloor(freed) < m.base {
		return m.then(freed, m.base, m.cycle)
	}
	return newPlan(nil, m.base, m.cycle)
}

// used gives how many bytes from freed to tail stand in v.
func (m *plan) used(v *volume, freed, tail Position) (n Position) {
	for p := freed; p < tail; {
		s := m.at(p)
		if s.vol == nil {
			return n
		}
		if s.vol == v {
			n += min(s.end, tail) - p
		}
		p = s.end
	}
	return n
}
