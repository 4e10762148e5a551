package journal

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// pagePlace is one page of a journal volume.
type pagePlace struct {
	vol *volume
	off Position
}

// planModel fills pages of small journal volumes, frees them, and changes the layout. It knows what stands where.
type planModel struct {
	t           *rapid.T
	m           *plan
	freed, tail Position
	owner       map[pagePlace]Position // what was written there last
	place       map[Position]pagePlace // where each live page was written
	next        int
}

// TestPlan: whatever changes are made when, the limit never lets a live page be overwritten, every live page is found where it was
// written, room is left whenever all is freed, and the page of the layout file gives the plan back.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &planModel{t: t, owner: map[pagePlace]Position{}, place: map[Position]pagePlace{}, next: 1}
		var cycle []*volume
		for range rapid.IntRange(1, 4).Draw(t, "volumes") {
			cycle = append(cycle, p.volume())
		}
		p.m = newPlan(nil, 0, cycle)
		for range 200 {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				p.add()
			case 1:
				p.remove()
			case 2:
				p.m = p.m.tidy(p.freed)
			case 3, 4, 5:
				p.free()
			default:
				p.fill()
			}
			p.check()
		}
	})
}

func (p *planModel) volume() *volume {
	v := &volume{number: p.next, data: uint64(rapid.IntRange(1, 5).Draw(p.t, "pages")) * PageSize}
	p.next++
	return v
}

func (p *planModel) fill() {
	// Not always to the end of a page: a change takes the page that is begun as full.
	for range rapid.IntRange(1, 9).Draw(p.t, "fill") {
		if p.tail >= p.m.limit(p.freed) {
			return
		}
		s := p.m.at(p.tail)
		if s.vol == nil || s.end <= p.tail {
			p.t.Fatalf("the tail %d is not mapped", p.tail)
		}
		at := pagePlace{s.vol, pageFloor(p.tail) - s.start}
		if old, ok := p.owner[at]; ok && old >= pageFloor(p.freed) && old != pageFloor(p.tail) {
			p.t.Fatalf("position %d overwrites %d in volume %d, freed is %d", p.tail, old, at.vol.number, p.freed)
		}
		p.owner[at], p.place[pageFloor(p.tail)] = pageFloor(p.tail), at
		p.tail += min(rapid.SampledFrom([]Position{64, PageSize}).Draw(p.t, "bytes"), PageSize-p.tail%PageSize)
	}
}

func (p *planModel) free() {
	p.freed = Position(rapid.Uint64Range(uint64(p.freed)/64, uint64(p.tail)/64).Draw(p.t, "freed")) * 64
}

func (p *planModel) add() {
	if len(p.m.table) < 7 {
		p.change(p.m.add(p.freed, p.tail, p.volume()))
	}
}

func (p *planModel) remove() {
	if len(p.m.cycle) > 1 {
		p.change(p.m.remove(p.freed, p.tail, rapid.SampledFrom(p.m.cycle).Draw(p.t, "leaving")))
	}
}

// change goes over to a plan; one that begins before the tail would map what was reserved anew.
func (p *planModel) change(n *plan) {
	if n.base < p.tail {
		p.t.Fatalf("the new layout begins at %d, before the tail %d", n.base, p.tail)
	}
	p.m = n
}

func (p *planModel) check() {
	limit := p.m.limit(p.freed)
	if p.tail > limit || limit%PageSize != 0 {
		p.t.Fatalf("limit %d, tail %d", limit, p.tail)
	}
	used := Position(0)
	for _, v := range p.m.table {
		used += p.m.used(v, p.freed, p.tail)
	}
	if used != p.tail-p.freed {
		p.t.Fatalf("volumes hold %d bytes, %d are in use", used, p.tail-p.freed)
	}
	for q := pageFloor(p.freed); q < p.tail; q += PageSize {
		s := p.m.at(q)
		if got := (pagePlace{s.vol, q - s.start}); got != p.place[q] {
			p.t.Fatalf("position %d is looked for in %v, it stands in %v", q, got, p.place[q])
		}
	}
	if p.freed == p.tail && limit < p.tail+PageSize && p.tail%PageSize == 0 {
		p.t.Fatalf("all is freed and there is no room: limit %d, tail %d", limit, p.tail)
	}
	if len(p.m.past) > maxPast {
		p.t.Fatalf("%d spans in the past", len(p.m.past))
	}
	l := layout{next: uint32(p.next), generation: 7, plan: p.m}
	back, err := decodeLayout("x", l.encode())
	if err != nil {
		p.t.Fatal(err)
	}
	if got, want := planText(back.plan), planText(p.m); got != want {
		p.t.Fatalf("the page gives %s, written was %s", got, want)
	}
}

func planText(m *plan) string {
	s := fmt.Sprintf("base %d tidy %d capacity %d", m.base, m.tidyAt, m.capacity)
	for _, v := range m.table {
		s += fmt.Sprintf(" volume %d %d %d", v.number, v.data, v.since)
	}
	for _, x := range m.past {
		s += fmt.Sprintf(" %d-%d in %d", x.start, x.end, x.vol.number)
	}
	for _, v := range m.cycle {
		s += fmt.Sprintf(" %d", v.number)
	}
	return s
}

// TestLayoutFull: the largest layout there can be has room in its page.
func TestLayoutFull(t *testing.T) {
	var all []*volume
	for i := range MaxVolumes {
		all = append(all, &volume{number: 900_000 + i, data: uint64(i+1) * PageSize, since: Position(i)})
	}
	m := newPlan(nil, 0, all)
	// The oldest needed byte lies in the middle of the volume that is being filled again.
	last := m.starts[MaxVolumes-1]
	m = m.then(last+PageSize, m.boundary(Position(m.capacity)+last+64), m.cycle)
	if len(m.past) != maxPast {
		t.Fatalf("%d spans, want %d", len(m.past), maxPast)
	}
	l := layout{next: 1_000_000, id: [16]byte{1}, generation: 1<<64 - 1, created: -1, plan: m}
	back, err := decodeLayout("x", l.encode())
	if err != nil {
		t.Fatal(err)
	}
	if planText(back.plan) != planText(m) || back.next != l.next || back.id != l.id || back.generation != l.generation || back.created != l.created {
		t.Errorf("got %+v", back)
	}
}

// FuzzLayout: no page makes the decoder panic, and what it takes it writes the same way and can walk.
func FuzzLayout(f *testing.F) {
	v := []*volume{{number: 1, data: 8 * PageSize}, {number: 2, data: 4 * PageSize}, {number: 5, data: 16 * PageSize, since: 4096}}
	m := newPlan([]span{{0, PageSize, v[1]}, {PageSize, 5 * PageSize, v[0]}}, 5*PageSize, v[1:])
	f.Add((&layout{next: 6, generation: 1, plan: m}).encode())
	f.Add((&layout{next: 3, generation: 2, plan: newPlan(nil, 0, v[:2])}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		page := make([]byte, PageSize)
		copy(page, b)
		for range 2 {
			if l, err := decodeLayout("x", page); err == nil {
				if !slices.Equal(l.encode(), page) {
					t.Error("written differently")
				}
				if !reflect.DeepEqual(l.plan.at(l.plan.base).vol, l.plan.cycle[0]) {
					t.Error("the cycle does not begin at the base")
				}
				for _, s := range l.plan.past {
					l.plan.limit(s.start)
				}
			}
			le.PutUint32(page[60:], layoutCRC(page)) // get past the checksum
		}
	})
}
