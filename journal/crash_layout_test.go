package journal_test

import (
	"context"
	"errors"

	"pgregory.net/rapid"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// maxModelVolumes bounds the memory of a run.
const maxModelVolumes = 5

// add adds a journal volume of a size of its own. Sometimes an operation fails on the way; then the process dies or power is cut.
func (m *crashModel) add() {
	if len(m.staying())+m.leaving() >= maxModelVolumes {
		return
	}
	size := int64(journal.MinVolumeSize + rapid.SampledFrom([]int{0, 1, 100, 257}).Draw(m.t, "pages")*journal.PageSize)
	m.disturbed(func() error { return m.j.AddVolume(context.Background(), size) })
}

// remove removes any journal volume; one that is needed is refused.
func (m *crashModel) remove() {
	number := rapid.SampledFrom(m.staying()).Draw(m.t, "volume")
	m.disturbed(func() error { return m.j.RemoveVolume(context.Background(), number) })
}

// staying gives the numbers of the journal volumes that are not leaving.
func (m *crashModel) staying() (list []int) {
	for _, v := range m.j.Volumes() {
		if v.State != journal.VolumeLeaving {
			list = append(list, v.Number)
		}
	}
	return list
}

// leaving counts those that are, when those that can go have gone.
func (m *crashModel) leaving() int {
	m.j.LetGo()
	return len(m.j.Volumes()) - len(m.staying())
}

// disturbed changes the layout, sometimes with a disk that fails an operation, or all from one on. After a failure of the journal the
// process dies. What is there after all must fit the layout, whichever holds.
func (m *crashModel) disturbed(change func() error) {
	m.j.LetGo()
	fail := rapid.SampledFrom([]string{"", "", "one", "all"}).Draw(m.t, "failing")
	if fail != "" {
		n := rapid.IntRange(0, 30).Draw(m.t, "failing operation")
		m.fs.Inject(func(op journaltest.Op) error {
			if op.N == n || op.N > n && fail == "all" {
				return journaltest.ErrInjected
			}
			return nil
		})
	}
	err := change()
	m.j.LetGo()
	failed := m.fs.Injected()
	m.fs.Inject(nil)
	if err != nil && !failed && !errors.Is(err, journal.ErrNeeded) {
		m.t.Fatal(err)
	}
	if failed && fail == "one" {
		// A flush in the background may have met it; this one waits for that.
		if p := m.j.Marks().Appended; m.j.Sync(context.Background(), p) == nil {
			m.synced = max(m.synced, p)
		}
	}
	if m.j.Err() != nil || failed && fail == "all" {
		if rapid.Bool().Draw(m.t, "power too") {
			m.cut()
		} else {
			m.kill()
		}
	}
	m.checkVolumes()
}

// checkVolumes checks the list of journal volumes against the marks.
func (m *crashModel) checkVolumes() {
	u, sum, active := m.j.Usage(), int64(0), 0
	for _, v := range m.j.Volumes() {
		sum += v.Used
		if v.State != journal.VolumeLeaving {
			active++
		}
		if v.Used > v.Size-journal.PageSize || v.Size < journal.MinVolumeSize {
			m.t.Fatalf("%+v", v)
		}
	}
	if sum != u.Used || active == 0 || u.Used > u.Capacity+journal.PageSize {
		m.t.Fatalf("volumes hold %d bytes, %d of them are filled, usage is %+v", sum, active, u)
	}
}
