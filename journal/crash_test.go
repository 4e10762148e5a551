package journal_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// entry is what the model knows of a published record. token is unique over all records ever made, so that one that comes back from the dead is recognised.
type entry struct {
	r      journal.Reservation
	kind   journal.Kind
	length int
	token  uint32
}

// crashModel drives a journal through appends, syncs, frees, deaths and power cuts, and knows what must be there afterwards.
type crashModel struct {
	t    *rapid.T
	fs   *journaltest.FS
	o    journal.Options
	j    *journal.Journal
	head journal.Head

	list   []entry // published and not yet known to be lost; from the head on
	synced journal.Position
	last   journal.Seq
	token  uint32
	full   int
}

func TestCrash(t *testing.T) {
	ring := ringPath(t)
	rapid.Check(t, func(t *rapid.T) {
		os.Remove(ring)
		m := &crashModel{t: t, fs: journaltest.NewFS()}
		m.o = options(m.fs, ring)
		create(t, m.o, 2)
		m.open()
		defer func() { m.j.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":    func(t *rapid.T) { m.t = t; m.append() },
			"append 2":  func(t *rapid.T) { m.t = t; m.append() },
			"sync":      func(t *rapid.T) { m.t = t; m.sync() },
			"free":      func(t *rapid.T) { m.t = t; m.free() },
			"close":     func(t *rapid.T) { m.t = t; m.reopen() },
			"kill":      func(t *rapid.T) { m.t = t; m.kill() },
			"power cut": func(t *rapid.T) { m.t = t; m.cut() },
			"cursor":    func(t *rapid.T) { m.t = t; m.read() },
			"add":       func(t *rapid.T) { m.t = t; m.add() },
			"remove":    func(t *rapid.T) { m.t = t; m.remove() },
		})
	})
}

// append appends some records, mostly small; a full journal is no error.
func (m *crashModel) append() {
	for range rapid.IntRange(1, 20).Draw(m.t, "records") {
		kind := rapid.SampledFrom([]journal.Kind{journal.KindUpdate, journal.KindUpdate, journal.KindUpdate, journal.KindControl, journal.KindBase, journal.KindDiscard}).Draw(m.t, "kind")
		n := rapid.SampledFrom([]int{0, 1, 64, 4032, 4096, 4160, 12288, 100_000, journal.MaxPayload}).Draw(m.t, "bytes")
		m.token++
		h := journal.Header{Kind: kind, Volume: m.token, Offset: 4096, Length: uint64(n)}
		// No room in the ring would wait for a Release: give all of it.
		if u := m.j.Usage(); u.RingUsed+2*journal.MaxRecord+journal.PageSize > u.RingSize {
			m.syncAll()
			m.j.Release(m.j.Marks().Durable)
		}
		r, err := m.j.Reserve(context.Background(), h)
		if errors.Is(err, journal.ErrFull) {
			return
		}
		if err != nil {
			m.t.Fatal(err)
		}
		journaltest.Fill(journal.Seq(m.token), r.Payload)
		m.j.Publish(r, r.Checksum())
		want := m.last
		if kind != journal.KindBase {
			want++
		}
		if r.Seq != want {
			m.t.Fatalf("%s got number %d after %d", kind, r.Seq, m.last)
		}
		m.last = r.Seq
		m.list = append(m.list, entry{r, kind, n, m.token})
	}
}

func (m *crashModel) syncAll() {
	if len(m.list) > 0 {
		m.synced = max(m.synced, m.list[len(m.list)-1].r.End)
		if err := m.j.Sync(context.Background(), m.synced); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *crashModel) sync() {
	if len(m.list) == 0 {
		return
	}
	e := m.list[rapid.IntRange(0, len(m.list)-1).Draw(m.t, "entry")]
	if err := m.j.Sync(context.Background(), e.r.End); err != nil {
		m.t.Fatal(err)
	}
	m.synced = max(m.synced, e.r.End)
}

// free frees up to a record that is durable; the head is persisted first, and sometimes the process dies before Free.
func (m *crashModel) free() {
	durable := m.j.Marks().Durable
	n := 0
	for n < len(m.list) && m.list[n].r.Pos < durable {
		n++
	}
	if n == 0 {
		return
	}
	k := rapid.IntRange(0, n-1).Draw(m.t, "entry")
	p := m.list[k].r.Pos
	if rapid.Bool().Draw(m.t, "its end") && m.list[k].r.End <= durable {
		p, k = m.list[k].r.End, k+1
	}
	h, err := m.j.FreeHead(p)
	if err != nil {
		m.t.Fatal(err)
	}
	m.head, m.list = h, m.list[k:]
	m.j.Release(p)
	if rapid.IntRange(0, 3).Draw(m.t, "free") > 0 {
		if err := m.j.Free(h); err != nil {
			m.t.Fatal(err)
		}
	}
}

// read checks that a cursor sees exactly the durable part of the model.
func (m *crashModel) read() {
	durable := m.j.Marks().Durable
	c, buf := m.j.NewCursor(m.head.Position), make([]byte, 2*mib)
	i := 0
	for {
		n, _, err := c.Read(buf, rapid.IntRange(1, 2*mib).Draw(m.t, "max"))
		if err != nil {
			m.t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for off := 0; off < n; i++ {
			r, size, err := journal.Parse(buf[off:n])
			if err != nil {
				m.t.Fatal(err)
			}
			m.compare(&r, i)
			off += size
		}
	}
	if i < len(m.list) && m.list[i].r.End <= durable {
		m.t.Fatalf("cursor ends before number %d, which is durable", m.list[i].r.Seq)
	}
}

// compare compares a record with entry i.
func (m *crashModel) compare(r *journal.Record, i int) {
	if i >= len(m.list) {
		m.t.Fatalf("%s was never appended, or was lost before", r)
	}
	e := m.list[i]
	if r.Seq != e.r.Seq || r.Kind != e.kind || r.Volume != e.token || r.Position != e.r.Pos || int(r.Length) != e.length {
		m.t.Fatalf("%s with token %d stands where %s of number %d with token %d was", r, r.Volume, e.kind, e.r.Seq, e.token)
	}
	want := make([]byte, len(r.Payload))
	journaltest.Fill(journal.Seq(e.token), want)
	if string(want) != string(r.Payload) {
		m.t.Fatalf("%s has other bytes than were appended", r)
	}
}

func (m *crashModel) reopen() {
	if err := m.j.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.synced = m.j.Marks().Durable
	m.open()
	m.verify(len(m.list))
}

// half makes the next flush stop somewhere: what it wrote is not synced.
func (m *crashModel) half() {
	m.j.LetGo()
	m.fs.Inject(journaltest.FailNth(rapid.IntRange(0, 3).Draw(m.t, "failing operation"), journaltest.OpWrite, journaltest.OpSync))
	if p := m.j.Marks().Appended; m.j.Sync(context.Background(), p) == nil {
		m.synced = max(m.synced, p)
	}
	m.fs.Inject(nil)
}

// kill is kill -9: the ring stays, so nothing published may be lost.
func (m *crashModel) kill() {
	if rapid.Bool().Draw(m.t, "during a flush") {
		m.half()
	}
	m.fs.Kill()
	m.j.Close()
	m.open()
	m.verify(len(m.list))
}

// cut is a power cut: the ring is gone, and what was not synced may be.
func (m *crashModel) cut() {
	if rapid.IntRange(0, 3).Draw(m.t, "during a flush") > 0 {
		m.half()
	}
	if rapid.Bool().Draw(m.t, "known") {
		m.synced = max(m.synced, m.j.Marks().Durable)
	}
	m.crash()
	m.j.Close()
	os.Remove(m.o.RingPath)
	need := 0
	for need < len(m.list) && m.list[need].r.End <= m.synced {
		need++
	}
	m.open()
	m.verify(need)
}

func (m *crashModel) crash() {
	m.fs.Crash(rapid.Uint64().Draw(m.t, "crash seed"), rapid.SampledFrom([]int{512, 4096}).Draw(m.t, "sector"))
}

// open opens the journal, sometimes after attempts that fail and lose power themselves.
func (m *crashModel) open() {
	if rapid.IntRange(0, 2).Draw(m.t, "failing opens") == 0 {
		m.fs.Inject(journaltest.FailNth(rapid.IntRange(0, 25).Draw(m.t, "failing operation")))
		j, _, err := journal.Open(m.o, m.head, m.synced, nil)
		m.fs.Inject(nil)
		if err == nil {
			m.fs.Kill()
			j.Close()
		} else if _, ring := os.Stat(m.o.RingPath); ring != nil {
			m.crash()
		}
	}
	m.list, m.full = m.list[:len(m.list):len(m.list)], 0
	var err error
	m.j, _, err = journal.Open(m.o, m.head, m.synced, func(r *journal.Record) error {
		m.compare(r, m.full)
		m.full++
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// verify checks that at least need records came back; the rest is lost for good. Numbers go on where they ended.
func (m *crashModel) verify(need int) {
	if m.full < need {
		m.t.Fatalf("%d records came back of %d that had to: first lost is number %d", m.full, need, m.list[m.full].r.Seq)
	}
	m.list = m.list[:m.full]
	m.last = m.head.Seq
	if m.full > 0 {
		m.last = m.list[m.full-1].r.Seq
	}
	k := m.j.Marks()
	if k.LastSeq != m.last || k.Durable != k.Reserved || k.Freed != m.head.Position {
		m.t.Fatalf("marks after recovery are %+v, want number %d and everything durable", k, m.last)
	}
	m.synced = k.Durable
}
