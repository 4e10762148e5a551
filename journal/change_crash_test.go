package journal_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// layoutChange is a change of the journal volumes that is interrupted at each of its operations.
type layoutChange struct {
	name    string
	volumes int
	prepare func(t *testing.T, c *changeRun) // before anything fails
	do      func(t *testing.T, c *changeRun) error
	before  []int // numbers of the journal volumes
	after   []int
	gone    []string // names of files that are not there after it
}

// changeRun is one run of it.
type changeRun struct {
	fsys   *journaltest.FS
	o      journal.Options
	j      *journal.Journal
	head   journal.Head
	ends   []journal.Position // of the updates; number i+1 ends at ends[i]
	synced journal.Seq
}

var layoutChanges = []layoutChange{
	{name: "the first addition", volumes: 2, before: []int{1, 2}, after: []int{1, 2, 3},
		do: func(t *testing.T, c *changeRun) error { return c.j.AddVolume(t.Context(), journal.MinVolumeSize+8192) }},
	{name: "a later addition", volumes: 1, before: []int{1, 2}, after: []int{1, 2, 3},
		prepare: func(t *testing.T, c *changeRun) { c.addOK(t) },
		do:      func(t *testing.T, c *changeRun) error { return c.j.AddVolume(t.Context(), journal.MinVolumeSize) }},
	{name: "removal of one that is not needed", volumes: 3, before: []int{1, 2, 3}, after: []int{1, 3}, gone: []string{file2},
		prepare: func(t *testing.T, c *changeRun) { c.fill(t, 1<<20) },
		do:      func(t *testing.T, c *changeRun) error { return c.j.RemoveVolume(t.Context(), 2) }},
	{name: "removal of the one that is filled, which is the first", volumes: 2, before: []int{1, 2}, after: []int{2},
		prepare: func(t *testing.T, c *changeRun) { c.fill(t, 1<<20) },
		do: func(t *testing.T, c *changeRun) error {
			if err := c.j.RemoveVolume(t.Context(), 1); err != nil {
				return err
			}
			return c.passOn(t)
		}},
	{name: "removal of one with a backlog", volumes: 1, before: []int{1, 2, 3}, after: []int{1, 3}, gone: []string{file2},
		prepare: func(t *testing.T, c *changeRun) {
			c.addOK(t)
			c.addOK(t)
			c.fill(t, 9<<20) // goes to 3 and ends in 2, because the last that joined comes next
			c.freeTo(t, 5<<20)
		},
		do: func(t *testing.T, c *changeRun) error {
			if err := c.j.RemoveVolume(t.Context(), 2); err != nil {
				return err
			}
			return c.passOn(t)
		}},
}

func (c *changeRun) addOK(t *testing.T) {
	t.Helper()
	if err := c.j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
		t.Fatal(err)
	}
}

// write appends updates of n bytes together, some of them synced, and gives the first error.
func (c *changeRun) write(t *testing.T, n int) error {
	for i := 0; n > 0; i++ {
		size := []int{100_000, 5000, 300_000, 64}[i%4]
		r, err := c.j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Length: uint64(size)})
		if err != nil {
			return err
		}
		journaltest.Fill(r.Seq, r.Payload)
		c.j.Publish(r, r.Checksum())
		c.ends = append(c.ends, r.End)
		n -= size
		if i%4 == 2 {
			if err := c.sync(t); err != nil {
				return err
			}
		}
	}
	return c.sync(t)
}

// sync makes all durable and lets the ring go.
func (c *changeRun) sync(t *testing.T) error {
	if err := c.j.Sync(t.Context(), c.ends[len(c.ends)-1]); err != nil {
		return err
	}
	c.synced = journal.Seq(len(c.ends))
	c.j.Release(c.ends[len(c.ends)-1])
	return nil
}

func (c *changeRun) fill(t *testing.T, n int) {
	t.Helper()
	if err := c.write(t, n); err != nil {
		t.Fatal(err)
	}
}

// freeTo frees what ends before p.
func (c *changeRun) freeTo(t *testing.T, p journal.Position) {
	t.Helper()
	i := 0
	for i+1 < len(c.ends) && c.ends[i+1] <= p {
		i++
	}
	c.head = free(t, c.j, c.ends[i])
}

// passOn writes on into the next journal volume and frees what is before, so that what leaves can go.
func (c *changeRun) passOn(t *testing.T) error {
	for i := 0; i < 4 && (i == 0 || len(c.staying()) < len(c.j.Volumes())); i++ {
		h, err := c.j.FreeHead(c.j.Marks().Durable)
		if err != nil {
			return err
		}
		c.head = h
		if err := c.j.Free(h); err != nil {
			return err
		}
		c.j.LetGo()
		if err := c.write(t, 2<<20); err != nil {
			return err
		}
	}
	return c.j.Err()
}

// start opens a new journal and prepares it.
func (x *layoutChange) start(t *testing.T, ring string) *changeRun {
	t.Helper()
	os.Remove(ring)
	c := &changeRun{fsys: journaltest.NewFS()}
	c.o = options(c.fsys, ring)
	create(t, c.o, x.volumes)
	c.j, _, _ = open(t, c.o, journal.Head{}, 0)
	if x.prepare != nil {
		x.prepare(t, c)
	}
	c.fill(t, 300_000)
	return c
}

// failFrom makes the n-th operation fail, and with all each one behind it.
func failFrom(n int, all bool) func(journaltest.Op) error {
	return func(op journaltest.Op) error {
		if op.N == n || all && op.N > n {
			return journaltest.ErrInjected
		}
		return nil
	}
}

// TestLayoutChangeCrash interrupts each change at each of its operations, once by a disk that fails this one operation, once by one
// that answers no more, and ends the life by a power cut or a kill. The journal opens with all that was promised and with the old
// layout or the new one, in which it goes on for some rounds.
func TestLayoutChangeCrash(t *testing.T) {
	ring := ringPath(t)
	points, rng := 0, seed(t)
	for _, x := range layoutChanges {
		for _, end := range []string{"power cut", "kill"} {
			for _, all := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/all=%v", x.name, end, all), func(t *testing.T) {
					for n, failed := rng.IntN(stride), true; failed; n += stride {
						c := x.start(t, ring)
						c.fsys.Inject(failFrom(n, all))
						err := x.do(t, c)
						c.j.LetGo()
						failed = c.fsys.Injected()
						c.fsys.Inject(nil)
						x.crash(t, c, n, end, err)
						x.check(t, c, n, err)
						points++
					}
				})
			}
		}
	}
	t.Logf("%d crash points", points)
}

// crash ends the life of the process.
func (x *layoutChange) crash(t *testing.T, c *changeRun, n int, end string, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, journaltest.ErrInjected) {
		t.Fatalf("operation %d: error does not name its cause: %v", n, err)
	}
	if end == "kill" {
		c.fsys.Kill()
		c.synced = journal.Seq(len(c.ends))
		c.j.Close()
		return
	}
	c.fsys.Crash(uint64(n), []int{16, 512, 4096}[n%3])
	c.j.Close()
	os.Remove(c.o.RingPath)
}

// check opens the journal and uses it for some rounds.
func (x *layoutChange) check(t *testing.T, c *changeRun, n int, changed error) {
	t.Helper()
	var list []seen
	c.j, _, list = open(t, c.o, c.head, 0)
	last := c.head.Seq + journal.Seq(len(list))
	checkUpdates(t, list, c.head.Seq+1, last)
	if last < c.synced {
		t.Fatalf("operation %d: numbers up to %d came back, %d were promised", n, last, c.synced)
	}
	c.j.LetGo()
	stay := c.staying()
	if !slices.Equal(stay, x.after) && (changed == nil || !slices.Equal(stay, x.before)) {
		t.Fatalf("operation %d (%v): journal volumes are %v, want %v or %v", n, changed, stay, x.before, x.after)
	}
	c.ends = c.ends[:last]
	for range 3 {
		if err := c.passOn(t); err != nil {
			t.Fatalf("operation %d: %v", n, err)
		}
	}
	closeOK(t, c.j)
	c.files(t, stay, x)
	sum, err := journal.Dump(c.fsys, c.o.Dir, nil)
	if err != nil || sum.Bad != 0 {
		t.Fatalf("operation %d: %+v, %v", n, sum, err)
	}
	c.j, _, list = open(t, c.o, c.head, 0)
	checkUpdates(t, list, c.head.Seq+1, journal.Seq(len(c.ends)))
	closeOK(t, c.j)
}

// staying gives the numbers of the journal volumes that are not leaving.
func (c *changeRun) staying() (stay []int) {
	for _, v := range c.j.Volumes() {
		if v.State != journal.VolumeLeaving {
			stay = append(stay, v.Number)
		}
	}
	return stay
}

// numbers gives the numbers of all journal volumes.
func numbers(j *journal.Journal) (list []int) {
	for _, v := range j.Volumes() {
		list = append(list, v.Number)
	}
	return list
}

// files checks that the folder holds the files of these journal volumes and nothing that a crash left but, for older programs, the first.
func (c *changeRun) files(t *testing.T, want []int, x *layoutChange) {
	t.Helper()
	names, err := c.fsys.List(c.o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, n := range names {
		number := 0
		if _, err := fmt.Sscanf(n, "%06d", &number); err == nil && (number != 1 || slices.Contains(want, 1)) {
			got = append(got, number)
		}
		if strings.HasSuffix(n, ".new") {
			t.Errorf("%s is left", n)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("files are %v, want those of %v", names, want)
	}
	if slices.Equal(want, x.after) {
		for _, name := range x.gone {
			if _, err := c.fsys.Open(name, false); err == nil {
				t.Errorf("%s is still there", name)
			}
		}
	}
}
