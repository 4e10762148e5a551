package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
	"pairfs/quicwire/wiretest"
)

// A duo is two sites on loopback with a proxy before each, so that the link can be cut. Volumes of a duo are of duoSize bytes; all of
// its groups have journals of 16 MiB, the smallest.
type duo struct {
	t    testing.TB
	a, b *node
}

// node is one site of a duo, which can be closed, killed and opened again at the same address with the same state.
type node struct {
	t     testing.TB
	cfg   Config
	site  *Site
	up    atomic.Pointer[Site] // site, for those who look while it is opened or closed
	other *node
	proxy *wiretest.Proxy // packets to this site go through it
}

const duoSize = 4 << 20

// duoOption changes the configuration of the site of that name before it is opened.
type duoOption func(name string, c *Config)

func withPathWatch(d time.Duration) duoOption { return func(_ string, c *Config) { c.PathWatch = d } }

// withStores puts wrap between the volumes of one site and their files.
func withStores(site string, wrap func(string, storeFile) storeFile) duoOption {
	return func(name string, c *Config) {
		if name == site {
			c.wrapStore = wrap
		}
	}
}

// withJournal puts fsys under the journals of one site.
func withJournal(site string, fsys journal.FS) duoOption {
	return func(name string, c *Config) {
		if name == site {
			c.journalFS = fsys
		}
	}
}

func newDuo(t testing.TB, options ...duoOption) *duo {
	t.Helper()
	d := &duo{t: t, a: newNode(t, "tokyo", options), b: newNode(t, "osaka", options)}
	d.a.other, d.b.other = d.b, d.a
	for _, n := range []*node{d.a, d.b} {
		n.open()
		n.cfg.Listen = n.site.endpoint.Addr().(*net.UDPAddr).String()
		p, err := wiretest.NewProxy("127.0.0.1:0", n.cfg.Listen, 1)
		if err != nil {
			t.Fatal(err)
		}
		n.proxy = p
		t.Cleanup(func() { p.Close() })
	}
	t.Cleanup(func() { d.a.close(); d.b.close() }) // before the proxies, so that the sites can say goodbye
	d.a.know()
	d.b.know()
	return d
}

func newNode(t testing.TB, name string, options []duoOption) *node {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ring, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(ring) })
	addr, err := wiretest.FreeAddr() // for a restart finds it again
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, cfg: Config{
		StateDir: dir, Name: name, Listen: addr, RingDir: ring, Memory: 64 << 20, PathWatch: time.Hour,
		Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}}
	for _, o := range options {
		o(name, &n.cfg)
	}
	return n
}

// testLog writes to the test's log while the test runs; goroutines of a site that was abandoned may still speak behind its end.
type testLog struct{ t testing.TB }

func (w testLog) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", bytes.TrimSpace(p))
	}
	return len(p), nil
}

func (n *node) open() {
	n.t.Helper()
	if err := n.tryOpen(); err != nil {
		n.t.Fatalf("open %s: %v", n.cfg.Name, err)
	}
}

func (n *node) tryOpen() error {
	s, err := Open(context.Background(), n.cfg)
	if err == nil {
		n.site = s
		n.up.Store(s)
	}
	return err
}

// close closes the site as a daemon does at its end.
func (n *node) close() {
	n.t.Helper()
	if n.site == nil {
		return
	}
	if err := n.site.Close(context.Background()); err != nil {
		n.t.Errorf("close %s: %v", n.cfg.Name, err)
	}
	n.site = nil
	n.up.Store(nil)
}

// reopen is a clean restart.
func (n *node) reopen() {
	n.t.Helper()
	n.close()
	n.open()
}

// discard closes a site whose disk is failing: what it says is not looked at.
func (n *node) discard() {
	_ = n.site.Close(context.Background())
	n.site = nil
	n.up.Store(nil)
}

// crash ends the site as far as one process can end a part of itself: nothing is flushed, checkpointed or said to the peer, and from
// the first moment on the database takes nothing. between runs when the database is cut off and before anything is closed.
func (n *node) crash(between func()) {
	s := n.site
	_ = s.db.db.Close() // a killed site does not say that its meta pages stand for the same
	keep := s.keepRings(n.t)
	defer keep()
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.endpoint.Close(dead) // and does not live to tell the peer what its disks do from here on; handlers end below
	if between != nil {
		between()
	}
	s.cancel()
	s.mu.RLock()
	groups, volumes := maps.Clone(s.groups), maps.Clone(s.volumes)
	s.mu.RUnlock()
	for _, g := range groups {
		g.closeSessions()
		g.cancel()
		g.wg.Wait()
	}
	_ = s.endpoint.Close(context.Background()) // a mirror that still copies reads the ring
	for _, g := range groups {
		g.dropJournal()
	}
	s.wg.Wait()
	for _, v := range volumes {
		_ = v.store.close()
	}
	s.events.close()
	n.site = nil
	n.up.Store(nil)
}

// dropJournal closes the journal of a killed site's group, if it was open: a group that is held has none.
func (g *group) dropJournal() {
	if g.journal != nil {
		_ = g.journal.Close()
	}
}

// keepRings gives a function that puts the staging rings back which the end of their journals took away: a killed daemon leaves them.
func (s *Site) keepRings(t testing.TB) (putBack func()) {
	kept := s.ringDir + ".kept"
	must(t, os.MkdirAll(kept, 0o700))
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name := range s.groups {
		must(t, os.Link(s.ringPath(name), filepath.Join(kept, name)))
	}
	return func() {
		for name := range s.groups {
			must(t, os.Rename(filepath.Join(kept, name), s.ringPath(name)))
		}
		must(t, os.RemoveAll(kept))
	}
}

// know makes the other site a peer, reached through its proxy.
func (n *node) know() {
	n.t.Helper()
	o := n.other
	err := n.site.AddPeer(context.Background(), PeerSpec{Name: o.cfg.Name, Address: o.proxy.Addr(), Fingerprint: o.site.identity.Fingerprint().String(), Quota: 1 << 50})
	if err != nil {
		n.t.Fatal(err)
	}
}

// forget loses the connections of the site at once, as a link that is seen to be down does; without it QUIC takes its idle time to notice.
func (n *node) forget() {
	if n.site == nil {
		return
	}
	n.site.endpoint.RemovePeer(n.other.cfg.Name)
}

// redial dials anew without the pause that grew while the link was down.
func (n *node) redial() {
	if n.site == nil {
		return
	}
	n.site.mu.RLock()
	p := n.site.peers[n.other.cfg.Name]
	n.site.mu.RUnlock()
	fp, err := quicwire.ParseFingerprint(p.rec.Fingerprint)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.site.endpoint.SetPeer(n.other.cfg.Name, n.other.proxy.Addr(), fp); err != nil {
		n.t.Error(err)
	}
}

// darken loses all packets from now on, and nobody is told; lighten ends that.
func (d *duo) darken() {
	d.a.proxy.Blackhole(wiretest.Both, true)
	d.b.proxy.Blackhole(wiretest.Both, true)
}

func (d *duo) lighten() {
	d.a.proxy.Heal()
	d.b.proxy.Heal()
}

// cut takes the link down and lets both sites see it. The sites go on dialling in vain.
func (d *duo) cut() {
	d.t.Helper()
	d.darken()
	for _, n := range []*node{d.a, d.b} {
		n.forget()
		n.redial()
	}
	d.wait("the link is down", func() bool { return !d.a.linked() && !d.b.linked() })
}

// heal brings the link back.
func (d *duo) heal() {
	d.lighten()
	for _, n := range []*node{d.a, d.b} {
		n.forget()
		n.redial()
	}
}

// linked reports whether any mirror of the site is connected.
func (n *node) linked() bool {
	if n.site == nil {
		return false
	}
	for _, g := range n.site.Status().Groups {
		if g.Linked {
			return true
		}
	}
	return false
}

// wait waits until the condition holds.
func (d *duo) wait(what string, ok func() bool) {
	d.t.Helper()
	if err := waitFor(ok); err != nil {
		d.dump()
		d.t.Fatalf("%s: %v", what, err)
	}
}

var errWaited = errors.New("it did not come about in 40 s")

func waitFor(ok func() bool) error {
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return errWaited
}

// dump logs what both sites say of themselves.
func (d *duo) dump() {
	for _, n := range []*node{d.a, d.b} {
		if n.site == nil {
			continue
		}
		st := n.site.Status()
		for _, p := range st.Pairs {
			d.t.Logf("%s: %+v", n.cfg.Name, p)
			d.t.Logf("%s: %s", n.cfg.Name, n.site.pairByName(p.Name).inside())
		}
		for _, g := range st.Groups {
			d.t.Logf("%s: %+v", n.cfg.Name, g)
		}
	}
}

// inside is what the status does not show of a pair.
func (p *pair) inside() string {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	text := fmt.Sprintf("pair %s, number %d: start %d, stop %d, pair %d, starting %v, round %d, last %d", p.name, p.rec.Number, p.rec.StartSeq, p.rec.StopSeq, p.rec.PairSeq, p.rec.Starting, p.round.Load(), p.group.lastSeq)
	if c := p.copier; c != nil {
		text += fmt.Sprintf(", copy: %d flying, %d under way, next %d, at its end %v, waits %v", c.flying, c.under, c.next, c.control, c.waits)
	}
	if f := p.group.session; f != nil {
		text += fmt.Sprintf(", session: sent %d of %d, last %d, %d bases", f.sent.Load(), f.budget, f.lastSeq, len(f.bases))
	}
	return text
}

// volume makes a volume of duoSize at the site.
func (n *node) volume(name string) *Volume {
	n.t.Helper()
	v, err := n.site.CreateVolume(name)
	if err == nil {
		err = v.Resize(context.Background(), duoSize)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

func (n *node) vol(name string) *Volume {
	n.t.Helper()
	v, err := n.site.Volume(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

// group makes a group with the smallest journal.
func (n *node) group(name string) {
	n.t.Helper()
	if err := n.site.CreateGroup(context.Background(), GroupSpec{Name: name, Size: journalMin, Options: map[string]string{"inflow-control": "yes", "overflow-watch": "600s"}}); err != nil {
		n.t.Fatal(err)
	}
}

// pair makes a pair of the volume of the same name in the group and waits for PAIR.
func (n *node) pair(group string, volumes ...string) {
	n.t.Helper()
	for _, v := range volumes {
		if err := n.site.CreatePair(context.Background(), PairSpec{Name: v, Volume: v, Peer: n.other.cfg.Name, Group: group}); err != nil {
			n.t.Fatal(err)
		}
	}
	n.awaitBoth(PAIR, volumes...)
}

// status gives the picture of a pair; its status is SMPL if there is none.
func (n *node) status(pair string) PairStatus {
	if n.site == nil {
		return PairStatus{}
	}
	for _, p := range n.site.Status().Pairs {
		if p.Name == pair {
			return p
		}
	}
	return PairStatus{}
}

func (n *node) groupStatus(name string) GroupStatus {
	for _, g := range n.site.Status().Groups {
		if g.Name == name {
			return g
		}
	}
	return GroupStatus{}
}

// await waits until all pairs are in one of the statuses on this side.
func (n *node) await(want Status, pairs ...string) {
	n.t.Helper()
	n.awaitAny([]Status{want}, pairs...)
}

func (n *node) awaitAny(want []Status, pairs ...string) {
	n.t.Helper()
	var have PairStatus
	err := waitFor(func() bool {
		for _, p := range pairs {
			have = n.status(p)
			if !slices.Contains(want, have.Status) {
				return false
			}
		}
		return true
	})
	if err != nil {
		(&duo{t: n.t, a: n, b: n.other}).dump()
		n.t.Fatalf("%s: pair %s is %s and not %v: %v", n.cfg.Name, have.Name, have.Status, want, err)
	}
}

// awaitBoth waits for the status on both sides.
func (n *node) awaitBoth(want Status, pairs ...string) {
	n.t.Helper()
	n.await(want, pairs...)
	n.other.await(want, pairs...)
}

// must ends the test on an error of a command.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused ends the test unless err is a refusal of the kind.
func refused(t testing.TB, err error, want Kind) {
	t.Helper()
	if err == nil || KindOf(err) != want {
		t.Fatalf("got %v (%s), want a refusal of kind %s", err, KindOf(err), want)
	}
}

func (n *node) suspend(group string, o SuspendOptions, pairs ...string) {
	n.t.Helper()
	must(n.t, n.site.SuspendGroup(context.Background(), group, o))
	n.awaitBoth(PSUS, pairs...)
}

func (n *node) resync(group string, pairs ...string) {
	n.t.Helper()
	must(n.t, n.site.ResyncGroup(context.Background(), group))
	n.awaitBoth(PAIR, pairs...)
}

// readAll reads a whole volume.
func readAll(t testing.TB, v *Volume) []byte {
	t.Helper()
	b := make([]byte, v.Size())
	if n, err := v.ReadAt(b, 0); err != nil || n != len(b) {
		t.Fatalf("read of volume %s: %d bytes, %v", v.Name(), n, err)
	}
	return b
}

// wantEqual ends the test unless the volumes have one content on both sites.
func (d *duo) wantEqual(volumes ...string) {
	d.t.Helper()
	for _, name := range volumes {
		if at := diffAt(readAll(d.t, d.a.vol(name)), readAll(d.t, d.b.vol(name))); at >= 0 {
			d.dump()
			d.t.Fatalf("volume %s differs at offset %d (region %d)", name, at, at/regionSize)
		}
	}
}

func diffAt(p, q []byte) int {
	if bytes.Equal(p, q) {
		return -1
	}
	for i := range min(len(p), len(q)) {
		if p[i] != q[i] {
			return i
		}
	}
	return min(len(p), len(q))
}

// wantCovered ends the test unless every region in which the volumes of a pair differ is marked on one side at least (I5).
func (d *duo) wantCovered(pairs ...string) {
	d.t.Helper()
	for _, name := range pairs {
		if err := d.covered(name); err != nil {
			d.dump()
			d.t.Fatal(err)
		}
	}
}

func (d *duo) covered(name string) error {
	p, q := d.a.site.pairByName(name), d.b.site.pairByName(name)
	if p == nil || q == nil {
		return fmt.Errorf("pair %s is not there", name)
	}
	x, y := readAll(d.t, p.att.vol), readAll(d.t, q.att.vol)
	for r := range p.att.bits.regions {
		from, to := r*regionSize, min((r+1)*regionSize, int64(len(x)))
		if !bytes.Equal(x[from:to], y[from:to]) && !p.att.bits.test(r) && !q.att.bits.test(r) {
			return fmt.Errorf("pair %s: region %d differs and no bitmap marks it", name, r)
		}
	}
	return nil
}

// writer writes self-describing blocks to volumes and remembers them. Volume number i of the history is names[i].
type writer struct {
	t     testing.TB
	node  *node
	names []string
	h     *history
}

func newWriter(n *node, names ...string) *writer {
	return &writer{t: n.t, node: n, names: names, h: newHistory()}
}

// write writes blocks of one volume.
func (w *writer) write(ctx context.Context, vol int, block, n int64, sync bool) error {
	o := w.h.begin(vol, block, n, false, sync)
	v, err := w.node.site.Volume(w.names[vol])
	if err == nil {
		var done int
		if done, err = v.WriteAt(ctx, o.payload(), block*o.unit, sync); err == nil && int64(done) != n*o.unit {
			err = fmt.Errorf("%d of %d bytes were written", done, n*o.unit)
		}
	}
	w.direct(v, o)
	return w.h.ended(o, err)
}

func (w *writer) discard(ctx context.Context, vol int, block, n int64) error {
	o := w.h.begin(vol, block, n, true, false)
	v, err := w.node.site.Volume(w.names[vol])
	if err == nil {
		err = v.Discard(ctx, block*o.unit, n*o.unit)
	}
	w.direct(v, o)
	return w.h.ended(o, err)
}

// direct notes of an op whether it may have gone straight to the store.
func (w *writer) direct(v *Volume, o *op) {
	if v == nil {
		return
	}
	v.mode.RLock()
	defer v.mode.RUnlock()
	if v.att == nil || v.att.direct.Load() {
		w.h.Direct(o.n)
	}
}

// sync flushes a volume, and with it everything of its group.
func (w *writer) sync(ctx context.Context, vol int) error {
	now := w.h.Now()
	v, err := w.node.site.Volume(w.names[vol])
	if err == nil {
		err = v.Sync(ctx)
	}
	if err == nil {
		w.h.Synced(now)
	}
	return err
}

// some makes a number of writes, mostly small, some large, some discards.
func (w *writer) some(rng interface{ IntN(int) int }, count int) {
	w.t.Helper()
	ctx := context.Background()
	const blocks = duoSize / blockSize
	for range count {
		vol, n := rng.IntN(len(w.names)), 1+rng.IntN(4)
		if rng.IntN(20) == 0 {
			n = 1 + rng.IntN(256)
		}
		at := int64(rng.IntN(blocks - n + 1))
		var err error
		if rng.IntN(12) == 0 {
			err = w.discard(ctx, vol, at, int64(n))
		} else {
			err = w.write(ctx, vol, at, int64(n), false)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// images reads the volumes at the site.
func (w *writer) images(n *node) map[int][]byte {
	w.t.Helper()
	images := map[int][]byte{}
	for i, name := range w.names {
		images[i] = readAll(w.t, n.vol(name))
	}
	return images
}

// check ends the test unless the volumes at the site are a prefix of the history that holds what must demands.
func (w *writer) check(n *node, must atLeast) {
	w.t.Helper()
	if err := w.h.check(w.images(n), must); err != nil {
		(&duo{t: w.t, a: w.node, b: w.node.other}).dump()
		w.t.Fatalf("volumes of %s: %v", n.cfg.Name, err)
	}
}

// checkStill is check of a secondary that may be receiving: it reads until nothing arrived while it read.
func (w *writer) checkStill(n *node, group string, must atLeast) {
	w.t.Helper()
	var images map[int][]byte
	err := waitFor(func() bool {
		g := n.site.groupByName(group)
		before := g.journal.Marks().Reserved
		images = w.images(n)
		return g.journal.Marks().Reserved == before
	})
	if err == nil {
		err = w.h.check(images, must)
	}
	if err != nil {
		(&duo{t: w.t, a: w.node, b: w.node.other}).dump()
		w.t.Fatalf("volumes of %s: %v", n.cfg.Name, err)
	}
}

// storeImage reads a volume's store past the volume: what a crash would leave.
func storeImage(t testing.TB, n *node, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.cfg.StateDir, "volumes", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
