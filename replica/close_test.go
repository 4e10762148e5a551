package replica

import (
	"context"
	"testing"
)

// TestCloseGivesUp: a site whose time to close ends while it serves a call of a peer lets nothing go: the call goes on, and comes to its end. What is
// left is found by the next start as behind a kill.
func TestCloseGivesUp(t *testing.T) { // alone, for it looks at all calls of the process
	d, w, _ := differ(t)
	s, g := d.b.site, d.b.site.groupByName("g@tokyo")
	d.inStep("x", "y")
	g.cmd.Lock()
	del := begin(func() error { return d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}) })
	d.wait("the call is served, and waits for a command", func() bool { return someCallIn("(*Site).serveDelete(", "(*waitLock).Lock(") })
	over, stop := context.WithCancel(t.Context())
	stop()
	err := s.Close(over)
	says(t, err, "calls of a peer do not end")
	says(t, s.Close(t.Context()), "calls of a peer do not end")
	must(t, g.journal.Err())
	must(t, s.db.update(g.dropRing))
	must(t, g.rememberRing())
	w.check(d.b, everyAck)
	g.cmd.Unlock()
	refused(t, <-del.end, KindUnreachable) // its connection is closed
	d.wait("the call has come to its end", func() bool { return s.pairByName("x") == nil })
	d.b.crash(nil)
	d.b.open()
	d.a.await(PSUS, "x")
	must(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}))
	d.a.awaitBoth(PAIR, "y")
	must(t, w.write(t.Context(), 1, 9, 1, true))
	d.a.suspend("g", SuspendOptions{}, "y")
	d.wantEqual("y")
}
