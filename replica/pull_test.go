package replica

import (
	"runtime"
	"testing"

	"pairfs/journal"
)

// TestLastStateIsTold: a state that changes while the next request is gathered is told, by that request or the next one.
func TestLastStateIsTold(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g, q := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	p := &pullSession{g: g, wake: make(chan struct{}, 1)}
	told := journal.Seq(0)
	gather := func() {
		_, states := p.marks()
		for _, st := range states {
			if st.Name == "x" {
				told = journal.Seq(st.Seq)
			}
		}
	}
	for n := range journal.Seq(100) {
		p.mu.Lock()
		began, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(began)
			gather()
		}()
		<-began
		for range 100 { // let it come as far as it can
			runtime.Gosched()
		}
		if g.mu.TryLock() { // it waits for p.mu with the states in its hand, or has not begun
			q.rec.StopSeq = 1 + n
			g.mu.Unlock()
			p.told = true
			p.mu.Unlock()
		} else { // it takes the states and the wish to tell them at one moment
			p.mu.Unlock()
			g.mu.Lock()
			q.rec.StopSeq = 1 + n
			g.mu.Unlock()
			p.tell()
		}
		<-done
		gather()
		if told != 1+n {
			t.Errorf("what was told last is %d, the state is %d", told, 1+n)
		}
	}
	g.mu.Lock()
	q.rec.StopSeq = noStop
	g.mu.Unlock()
}
