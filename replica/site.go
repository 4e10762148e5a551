package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/journal"
	"pairfs/quicwire"
)

// Config says what a site is. All fields but Logger and the optional ones must be set.
type Config struct {
	StateDir      string
	Name          string        // the site's name, as peers may call it
	Listen        string        // HOST:PORT of the QUIC listener
	RingDir       string        // folder on tmpfs for staging rings; "" = /dev/shm, or /run where that is tmpfs
	WithoutRing   bool          // start although a staging ring that a killed daemon left is gone
	WithoutStores []string      // volumes that are given up with their pairs, for their stores are gone; see findStores
	Memory        int64         // bytes: bound of rings and buffers; 0 = 256 MiB
	PathWatch     time.Duration // how long a mirror may be down before its pairs are suspended; 0 = 5 min
	Version       string
	Logger        *slog.Logger

	// Fatal ends the process, at once and without anything that stores; it does not return. It is called when a change of site.db may be stored or
	// not and nobody can tell. Without it the site panics.
	Fatal func(error)

	// Packets, if set, is used instead of a UDP socket at Listen.
	Packets net.PacketConn

	// Seams of tests: the disk of the journals, what stands between a volume and the file of its store, and the wall clock.
	journalFS journal.FS
	wrapStore func(volume string, f storeFile) storeFile
	wallClock func() time.Time
	keptStep  func(step string) error        // called before each step of keeping or dropping a set
	pathConn  func() (net.PacketConn, error) // makes the sockets of path connections
	older     bool                           // this site knows of no feature of the wire, as an older one
}

// Site is one running daemon: its state directory, volumes, groups, pairs and peers. All methods may be called concurrently.
type Site struct {
	cfg      Config
	log      *slog.Logger
	db       *database
	identity *quicwire.Identity
	endpoint *quicwire.Endpoint
	events   *eventLog
	past     *historian
	ringDir  string
	boot     string // tells this run of the machine from every other
	started  time.Time
	fresh    bool // its state directory held no site before
	opts     atomic.Pointer[SiteOptions]
	slots    *copySlots
	kept     keptSeen
	paths    pathMemory

	// cmd serialises what adds and removes volumes, groups, pairs and peers. It is never held while a peer is waited for.
	cmd     waitLock
	claimed map[string]bool // guarded by cmd: names of creates that wait for a peer, or for a journal
	closing bool            // guarded by cmd

	mu      sync.RWMutex // guards the maps; innermost but for the event log
	volumes map[string]*Volume
	groups  map[string]*group
	making  map[string]*making // groups whose journal is being written
	pairs   map[string]*pair
	peers   map[string]*peer

	invalidate atomic.Pointer[func(*Volume, int64, int64)]
	ending     atomic.Bool // it is being switched off, see [Site.switchOff]

	refusedMu sync.Mutex
	told      map[string]time.Time   // guarded by refusedMu: when something was told last, see firstIn
	brought   map[string]*peerEvents // guarded by refusedMu: by name of the peer, see tellOf

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed sync.Once
	ended  error // what Close came to
}

type peer struct {
	rec       peerRecord
	changed   time.Time
	lastError string
}

// Open opens a site: it takes the state directory, replays the journals and begins to listen. ctx bounds nothing but the opening.
func Open(_ context.Context, cfg Config) (*Site, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Site{
		cfg: cfg, log: cfg.Logger.With("site", cfg.Name), slots: newCopySlots(), claimed: map[string]bool{}, told: map[string]time.Time{}, brought: map[string]*peerEvents{},
		volumes: map[string]*Volume{}, groups: map[string]*group{}, making: map[string]*making{}, pairs: map[string]*pair{}, peers: map[string]*peer{},
	}
	s.started = s.wall()
	s.paths.bound = cfg.Memory / pathShare
	s.events = newEventLog(s.log, s.wall)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		if full := s.noRoom(err); full != nil {
			err = full
		}
		return nil, errors.Join(err, s.abandon(), s.unmake())
	}
	if s.fresh {
		s.events.add(slog.LevelInfo, "site", "a new site %s was made in %s", cfg.Name, cfg.StateDir)
	}
	s.events.add(slog.LevelInfo, "site", "site %s is up, listening on %s", cfg.Name, s.endpoint.Addr())
	return s, nil
}

// features are what this site can do beyond the version of the wire.
func (c *Config) features() quicwire.Features {
	if c.older {
		return 0
	}
	return quicwire.FeatureSwap | quicwire.FeatureLag | quicwire.FeatureMark | quicwire.FeatureSettings | quicwire.FeaturePowerOff | quicwire.FeaturePathLost | quicwire.FeaturePaths | quicwire.FeatureS2
}

func (c *Config) fill() error {
	if err := checkName("site", c.Name); err != nil {
		return err
	}
	if c.StateDir == "" {
		return refuse(KindInvalid, "no state directory is given: use --state DIR")
	}
	if c.Memory == 0 {
		c.Memory = memoryDefault
	}
	if c.Memory < memoryMin {
		return refuse(KindInvalid, "a memory bound of %s is too small: at least %s", iec(c.Memory), iec(memoryMin))
	}
	if has := hostMemory(); c.Memory > has {
		return refuse(KindInvalid, "a memory bound of %s is more than the %s that this host has: mount with a smaller --memory", iec(c.Memory), iec(has))
	}
	if c.PathWatch == 0 {
		c.PathWatch = pathWatchDefault
	}
	if c.RingDir == "" {
		c.RingDir = DefaultRingDir()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (s *Site) open() error {
	s.fresh = noDatabase(s.cfg.StateDir)
	if err := s.openDirs(); err != nil {
		return err
	}
	if err := checkLost(s.cfg.StateDir); err != nil {
		return err
	}
	db, remark, err := openDatabase(filepath.Join(s.cfg.StateDir, "site.db"), s.cfg.Name)
	if err != nil {
		return err
	}
	s.db = db
	if err := s.db.valid(); err != nil {
		return err
	}
	if remark != "" {
		s.events.add(slog.LevelWarn, "site", "%s", remark)
	}
	s.db.room.short, s.db.settled, s.db.fatal = s.dbShort, s.dbSettled, s.fatal
	s.db.provide()
	if err := s.openHistory(); err != nil {
		return err
	}
	if err := s.loadOptions(); err != nil {
		return err
	}
	if s.identity, err = quicwire.LoadIdentity(filepath.Join(s.cfg.StateDir, "key.pem")); err != nil {
		return err
	}
	if err := s.openRings(); err != nil {
		return err
	}
	s.openKept()
	if err := s.findStores(); err != nil {
		return err
	}
	if err := s.loadVolumes(); err != nil {
		return err
	}
	if err := s.loadGroups(); err != nil {
		return err
	}
	return s.listen()
}

func (s *Site) listen() error {
	var err error
	s.endpoint, err = quicwire.Listen(quicwire.Config{
		Identity: s.identity, ResetKeyPath: filepath.Join(s.cfg.StateDir, "reset.key"), Site: s.cfg.Name,
		Listen: s.cfg.Listen, PacketConn: s.cfg.Packets, PathConn: s.cfg.pathConn, Handler: s, Logger: s.log, Features: s.cfg.features(),
	})
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("%w: give another address with --listen, or free this one", err)
	}
	if err != nil {
		return err
	}
	recs, err := load[peerRecord](s.db, bucketPeers)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for name, rec := range recs {
		s.peers[name] = &peer{rec: rec, changed: s.wall()}
	}
	s.mu.Unlock()
	for name, rec := range recs {
		fp, err := quicwire.ParseFingerprint(rec.Fingerprint)
		if err != nil {
			return fmt.Errorf("peer %s: %w", name, err)
		}
		if err := s.endpoint.SetPeer(name, rec.Address, fp); err != nil {
			return fmt.Errorf("peer %s: %w", name, err)
		}
	}
	s.begin()
	return nil
}

// begin starts the groups. Deletes that were under way when the daemon ended are ended by the watch of their group.
func (s *Site) begin() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	used := map[*group]bool{}
	for _, p := range s.pairs {
		used[p.group] = true
	}
	for _, g := range s.groups {
		g.start()
		if !used[g] && (g.madeOnDemand() || g.role == Secondary) { // the daemon ended before it came to that
			s.wg.Go(func() { s.endMirror(g) })
		}
	}
}

// abandon closes what a failed Open had opened.
func (s *Site) abandon() error {
	s.cancel()
	var errs []error
	if s.endpoint != nil {
		errs = append(errs, s.endpoint.Close(context.Background()))
	}
	for _, g := range s.groups {
		g.cancel()
		if g.journal != nil {
			errs = append(errs, g.closeJournal())
		}
	}
	for _, v := range s.volumes {
		errs = append(errs, v.store.close())
	}
	errs = append(errs, s.closeHistory())
	if s.db != nil {
		errs = append(errs, s.db.close())
	}
	return errors.Join(errs...)
}

// Close ends the site: everything acknowledged is in the journals and stores, flushed, and the marks say so. Host I/O has to have ended.
// If ctx ends while calls of a peer are still served, Close gives up: they read the rings, so everything stays open for the end of the
// process to let go of, and the next start finds what a kill leaves. Only the first call closes; others return what that came to.
func (s *Site) Close(ctx context.Context) error {
	s.closed.Do(func() { s.ended = s.close(ctx) })
	return s.ended
}

// close is what the first Close does.
func (s *Site) close(ctx context.Context) error {
	s.switchOff(ctx)
	errs := []error{s.endpoint.Close(ctx)}
	if errs[0] != nil && ctx.Err() != nil {
		return fmt.Errorf("calls of a peer do not end; the next start goes on as after a kill: %w", errs[0])
	}
	s.cmd.Lock() // a group may be on its way out
	s.closing = true
	s.awaitMaking()
	s.cmd.Unlock()
	s.mu.RLock()
	groups, volumes := maps.Clone(s.groups), maps.Clone(s.volumes)
	s.mu.RUnlock()
	for _, g := range groups {
		if e := g.stop(ctx); e != nil {
			errs = append(errs, fmt.Errorf("stop group %s: %w", g.name, e))
		}
	}
	s.cancel()
	s.wg.Wait()
	for _, v := range volumes {
		errs = append(errs, v.store.sync(), v.store.close())
	}
	errs = append(errs, s.closeHistory(), s.db.close())
	_ = os.Remove(s.ringDir) // goes only when no ring is left
	s.events.close()
	return errors.Join(errs...)
}

func (s *Site) storePath(name string) string { return filepath.Join(s.cfg.StateDir, "volumes", name) }

func (s *Site) groupByName(name string) *group {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[name]
}

func (s *Site) pairByName(name string) *pair {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pairs[name]
}

// SetInvalidate sets the function that is told which bytes of an S-VOL with open handles changed. It is called without locks and must
// return at once.
func (s *Site) SetInvalidate(f func(v *Volume, off, n int64)) { s.invalidate.Store(&f) }

// Volumes returns all volumes, sorted by name.
func (s *Site) Volumes() []*Volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.volumes))
	for n := range s.volumes {
		names = append(names, n)
	}
	sort.Strings(names)
	all := make([]*Volume, len(names))
	for i, n := range names {
		all[i] = s.volumes[n]
	}
	return all
}

// Volume returns the volume of that name, or a KindNotFound error.
func (s *Site) Volume(name string) (*Volume, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v := s.volumes[name]; v != nil {
		return v, nil
	}
	return nil, refuse(KindNotFound, "there is no volume %s", name)
}

// Statfs returns the figures of the file system that holds the stores.
func (s *Site) Statfs() (unix.Statfs_t, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(s.cfg.StateDir, "volumes"), &st); err != nil {
		return st, fmt.Errorf("statfs of %s: %w", s.cfg.StateDir, err)
	}
	return st, nil
}

// hostMemory is the memory of this host in bytes.
func hostMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return math.MaxInt64 // what is not known bounds nothing
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}
