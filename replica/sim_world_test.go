package replica

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/e2e/prefix"
	"pairfs/journal"
	"pairfs/journal/journaltest"
	"pairfs/quicwire/wiretest"
)

// simSize is the size of the volumes of a simulated run: two of the largest records. simUnit is the block of its writes.
const (
	simSize = 2 << 20
	simUnit = 512
)

// world is two sites on a simulated network, inside a bubble of virtual time.
type world struct {
	*duo
	rng    *rand.Rand // of the network's and the disks' choices that belong to no step
	net    *wiretest.Network
	sites  []*simSite
	groups []*simGroup
	began  time.Time
	turns  bool // roles change

	runs  uint64               // histories
	seen  map[string]int       // how often the checks met what
	read  map[string]*simImage // of volumes, by site and name
	fresh map[string]bool      // read since the world moved

	mu  sync.Mutex
	log []string
}

// simSite is one of them: what its daemon leaves when it dies is kept here.
type simSite struct {
	*node
	world  *world
	addr   string
	host   *wiretest.Host
	paths  []*wiretest.Host // sockets of path connections
	far    []time.Duration  // how much farther these are than host, by turns
	disk   *simDisk
	stores *mortalStores
	disks  simDisks
	// stateless ends the failure of its database: mend while the daemon is up, left behind its end. Neither is there while it is well.
	stateless struct{ mend, left func() }
	clock     atomic.Int64   // how far its wall clock was set, ns
	hurt      atomic.Int64   // counts what excuses errors of commands and hosts
	fired     atomic.Int64   // counts failures of its disks that were to come once
	busy      sync.WaitGroup // commands and hosts at the site
	hosts     context.Context
	expel     context.CancelFunc // ends the hosts
}

// simGroup is a group with what hosts did to its volumes.
type simGroup struct {
	name  string
	home  *simSite // where it is primary
	w     *writer
	other *writer         // what hosts do to S-VOLs: a history of its own
	dirty map[string]bool // S-VOLs that hosts wrote since their last copy: no prefix
	marks []simMark       // guarded by world.mu: the last that were placed
	lost  bool            // the primary lost power, and nobody has looked yet at what is left
	ages  []ageSeen
	names map[*simSite]string // of the group at each site
	split atomic.Bool         // taken over without the primary: two histories may go on

	resyncs, resyncing atomic.Int64 // plain ones: how many began, and are under way
}

func (g *simGroup) away() *simSite   { return g.home.world.peerOf(g.home) }
func (g *simGroup) restored() string { return g.names[g.away()] }
func (g *simGroup) master() string   { return g.names[g.home] }

func (w *world) peerOf(s *simSite) *simSite {
	if w.sites[0] == s {
		return w.sites[1]
	}
	return w.sites[0]
}

// simDisk is the disk of a site's journals. Sites remove the folder of a journal through the operating system, so there is a folder for each
// there too: a journal whose folder is gone has gone.
type simDisk struct {
	*journaltest.FS
	flush func() // lets the time of a flush pass
}

// simFile is a file on it.
type simFile struct {
	journal.File
	disk *simDisk
}

func (f simFile) Sync() error {
	f.disk.flush()
	return f.File.Sync()
}

func (d *simDisk) Open(name string, write bool) (journal.File, error) {
	f, err := d.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return simFile{f, d}, nil
}

func (d *simDisk) Create(name string) (journal.File, error) {
	f, err := d.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return simFile{f, d}, nil
}

func (d *simDisk) MkdirAll(dir string) error {
	if _, err := os.Lstat(dir); err != nil {
		names, _ := d.List(dir)
		for _, n := range names {
			if err := d.Remove(filepath.Join(dir, n)); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return d.FS.MkdirAll(dir)
}

var _ journal.FS = (*simDisk)(nil)

// newWorld makes the sites and their groups, with the pairs in PAIR. It must be called inside the bubble.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{seen: map[string]int{}, read: map[string]*simImage{}, fresh: map[string]bool{}, rng: newRand(seed), net: wiretest.NewNetwork(seed, 5*time.Millisecond), began: time.Now()}
	w.sites = []*simSite{w.newSite(t, "tokyo", "10.0.0.1:7000"), w.newSite(t, "osaka", "10.0.0.2:7000")}
	w.duo = &duo{t: t, a: w.sites[0].node, b: w.sites[1].node}
	w.a.other, w.b.other = w.b, w.a
	t.Cleanup(func() {
		for _, s := range w.sites {
			s.die(nil)
		}
	})
	for _, s := range w.sites {
		s.start()
	}
	for i, s := range w.sites {
		o := w.sites[1-i]
		must(t, s.site.AddPeer(t.Context(), PeerSpec{Name: o.cfg.Name, Address: o.addr, Fingerprint: o.site.identity.Fingerprint().String(), Quota: 1 << 50}))
	}
	w.newGroup(w.sites[0], "g", "x", "y")
	w.newGroup(w.sites[1], "h", "z")
	return w
}

// farther gives every second world of a kind, with and without takeovers, further paths from the begin, of different lengths.
func (w *world) farther(seed uint64) {
	if seed/2%2 != 0 { // the last bit decides about takeovers
		return
	}
	for i, g := range w.groups {
		w.sites[i].far = []time.Duration{0, 40 * time.Millisecond, 3 * time.Millisecond}
		must(w.t, g.home.site.SetGroup(context.Background(), g.name, map[string]string{"paths": fmt.Sprint(2 + (seed/4+uint64(i))%4)}))
	}
}

func (w *world) newSite(t *testing.T, name, addr string) *simSite {
	t.Helper()
	s := &simSite{world: w, addr: addr, stores: newMortalStores()}
	s.stores.rng = newRand(w.rng.Uint64())
	s.disk = &simDisk{journaltest.NewFS(), func() { time.Sleep(time.Duration(s.disks.flushes.Load())) }}
	s.disk.Inject(s.journalFault)
	dir, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.node = newNode(t, name, []duoOption{func(_ string, c *Config) {
		c.StateDir, c.PathWatch, c.journalFS, c.wallClock = dir, time.Minute, s.disk, s.wall
		c.wrapStore = func(volume string, f storeFile) storeFile {
			return probe(s.storeFault)(volume, s.stores.wrap(volume, f))
		}
		c.Logger, c.pathConn = slog.New(slog.NewTextHandler(w, nil)), s.pathConn
	}})
	return s
}

// pathConn makes the socket of a path connection.
func (s *simSite) pathConn() (net.PacketConn, error) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	n := len(s.paths)
	at := s.pathAddr(n)
	h, err := s.world.net.Host(at)
	if err != nil {
		return nil, err
	}
	if len(s.far) > 0 {
		s.world.net.Far(at, s.far[n%len(s.far)])
	}
	s.paths = append(s.paths, h)
	return h, nil
}

// pathAddr is the address of the n-th socket of a path connection.
func (s *simSite) pathAddr(n int) string {
	return netip.AddrPortFrom(netip.MustParseAddrPort(s.addr).Addr(), uint16(10000+n)).String()
}

// newGroup makes a group of pairs and waits for PAIR.
func (w *world) newGroup(home *simSite, name string, volumes ...string) {
	g := &simGroup{name: name, home: home, dirty: map[string]bool{}, w: newWriter(home.node, volumes...), other: newWriter(home.node.other, volumes...)}
	g.w.h, g.other.h = w.newHistory(), w.newHistory()
	g.names = map[*simSite]string{home: name, w.peerOf(home): name + "@" + home.cfg.Name}
	w.groups = append(w.groups, g)
	home.group(name)
	for _, n := range volumes {
		v, err := home.site.CreateVolume(n)
		must(w.t, err)
		must(w.t, v.Resize(w.t.Context(), simSize))
	}
	home.pair(name, volumes...)
}

// newHistory makes an empty history; a run of the same seed has the same payloads.
func (w *world) newHistory() *history {
	w.runs++
	return &history{prefix.NewHistory(w.runs), simUnit}
}

// Write takes a line of a site's log; the last ones are shown when a run fails.
func (w *world) Write(p []byte) (int, error) {
	w.note("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

const noteMax = 400

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.log) == noteMax {
		w.log = w.log[1:]
	}
	w.log = append(w.log, fmt.Sprintf("%9.3f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// start starts the daemon.
func (s *simSite) start() {
	s.t.Helper()
	h, err := s.world.net.Host(s.addr)
	must(s.t, err)
	s.host, s.cfg.Packets = h, h
	s.hosts, s.expel = context.WithCancel(context.Background())
	s.node.open()
	s.cfg.WithoutRing = false
}

// die kills the daemon. between, if not nil, is what happens to what it leaves.
func (s *simSite) die(between func()) {
	if s.site == nil {
		return
	}
	old := s.site
	s.hurt.Add(1)
	s.host.Close()
	s.cutPaths()
	s.crash(func() {
		s.disk.Kill()
		if between != nil {
			between()
		}
	})
	s.expel()
	s.busy.Wait()
	_ = old.endpoint.Close(context.Background())
	for _, g := range old.groups { // one that was being made when the daemon died
		g.cancel()
		g.wg.Wait()
		g.dropJournal()
	}
	s.statesLeft()
}

// stop ends the daemon in good order, after its hosts.
func (s *simSite) stop() {
	s.t.Helper()
	s.hurt.Add(1)
	s.expel()
	s.busy.Wait()
	if s.disks.ill() || ailing(s.site) {
		s.discard()
	} else {
		s.close()
	}
	s.statesLeft()
	s.host.Close()
}

// cutPaths closes the sockets of path connections, as the end of a process does.
func (s *simSite) cutPaths() {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	for _, h := range s.paths {
		h.Close()
	}
}

// losePower is the power cut of one side.
func (s *simSite) losePower(seed uint64) {
	rings := s.site.ringDir
	s.die(func() {
		s.disk.Crash(seed, []int{512, 4096}[seed%2])
		must(s.t, s.stores.cut(newRand(seed)))
	})
	must(s.t, os.RemoveAll(rings))
	s.cfg.WithoutRing = true // the run of the machine has ended
}
