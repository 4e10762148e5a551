package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pairfs/journal"
	"pairfs/quicwire"
)

// Config says what a site is. All fields but Logger and the optional ones must be set.
type Config struct {
	StateDir  string
	Name      string        // the site's name, as peers may call it
	Listen    string        // HOST:PORT of the QUIC listener
	RingDir   string        // folder on tmpfs for staging rings; "" = /dev/shm, or /run where that is tmpfs
	Memory    int64         // bytes: bound of rings and buffers; 0 = 256 MiB
	PathWatch time.Duration // how long a mirror may be down before its pairs are suspended; 0 = 5 min
	Version   string
	Logger    *slog.Logger

	// Packets, if set, is used instead of a UDP socket at Listen.
	Packets net.PacketConn

	// Seams of tests: the disk of the journals, and what stands between a volume and the file of its store.
	journalFS journal.FS
	wrapStore func(volume string, f storeFile) storeFile
}

// Site is one running daemon: its state directory, volumes, groups, pairs and peers. All methods may be called concurrently.
type Site struct {
	cfg      Config
	log      *slog.Logger
	db       *database
	identity *quicwire.Identity
	endpoint *quicwire.Endpoint
	events   *eventLog
	ringDir  string
	started  time.Time

	// cmd serialises what adds and removes volumes, groups, pairs and peers. It is never held while a peer is waited for.
	cmd     sync.Mutex
	claimed map[string]bool // guarded by cmd: names of creates that wait for a peer
	closing bool            // guarded by cmd

	mu      sync.RWMutex // guards the maps; innermost but for the event log
	volumes map[string]*Volume
	groups  map[string]*group
	pairs   map[string]*pair
	peers   map[string]*peer

	invalidate atomic.Pointer[func(*Volume, int64, int64)]

	refusedMu sync.Mutex
	told      map[string]time.Time // guarded by refusedMu: when something was told last, see firstIn

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed sync.Once
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
		cfg: cfg, log: cfg.Logger.With("site", cfg.Name), started: time.Now(), claimed: map[string]bool{}, told: map[string]time.Time{},
		volumes: map[string]*Volume{}, groups: map[string]*group{}, pairs: map[string]*pair{}, peers: map[string]*peer{},
	}
	s.events = newEventLog(s.log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	s.events.add(slog.LevelInfo, "site", "site %s is up, listening on %s", cfg.Name, s.endpoint.Addr())
	return s, nil
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

// checkLost refuses a state directory that lost its database or its key: without the database the stores are bytes of nobody, and a new
// site in the same place would write over them; without its key no peer would know the site again.
func checkLost(dir string) error {
	_, dbErr := os.Lstat(filepath.Join(dir, "site.db"))
	if errors.Is(dbErr, os.ErrNotExist) {
		for _, sub := range []string{"volumes", "journals"} {
			if left, err := os.ReadDir(filepath.Join(dir, sub)); err == nil && len(left) > 0 {
				return refuse(KindInternal, "%s has no site.db, but %s holds %s and more: restore site.db, or move the whole directory away to begin anew", dir, filepath.Join(dir, sub), left[0].Name())
			}
		}
		return nil
	}
	if _, err := os.Lstat(filepath.Join(dir, "key.pem")); errors.Is(err, os.ErrNotExist) {
		return refuse(KindInternal, "%s has a site.db and no key.pem: restore the key, for peers know the site by it; or make a new one (pairfs key --state %s) and give it to every peer", dir, dir)
	}
	return nil
}

// DefaultRingDir finds a folder on tmpfs for staging rings: /dev/shm, or /run where that is one; /dev/shm if neither is.
func DefaultRingDir() string {
	for _, dir := range []string{"/dev/shm", "/run"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC {
			return dir
		}
	}
	return "/dev/shm"
}

func (s *Site) open() error {
	if err := s.openDirs(); err != nil {
		return err
	}
	var err error
	if err := checkLost(s.cfg.StateDir); err != nil {
		return err
	}
	if s.db, err = openDatabase(filepath.Join(s.cfg.StateDir, "site.db"), s.cfg.Name); err != nil {
		return err
	}
	if s.identity, err = quicwire.LoadIdentity(filepath.Join(s.cfg.StateDir, "key.pem")); err != nil {
		return err
	}
	if err := s.openRings(); err != nil {
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

// openDirs makes the folders and refuses a state directory that others can read.
func (s *Site) openDirs() error {
	base := filepath.Base(s.cfg.StateDir)
	abs, err := filepath.Abs(s.cfg.StateDir)
	if err != nil || base == "" {
		return fmt.Errorf("state directory %s: %w", s.cfg.StateDir, err)
	}
	s.cfg.StateDir = abs
	for _, dir := range []string{abs, filepath.Join(abs, "volumes"), filepath.Join(abs, "journals")} {
		if err := privateDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// openRings makes the folder of the staging rings, pairfs-SITE-KEY on tmpfs, KEY being 8 digits that stand for the site's key: the ring of
// a killed daemon holds acknowledged writes, so another site that happens to have the same name must not come near it.
func (s *Site) openRings() error {
	fp := s.identity.Fingerprint()
	s.ringDir = filepath.Join(s.cfg.RingDir, fmt.Sprintf("pairfs-%s-%x", s.cfg.Name, fp[:4]))
	return privateDir(s.ringDir)
}

// privateDir makes a folder of mode 0700, or checks that there is one.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory; pairfs does not follow links in its state directory", dir)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o): chmod 700 %s", dir, fi.Mode().Perm(), dir)
	}
	return nil
}

func (s *Site) listen() error {
	var err error
	s.endpoint, err = quicwire.Listen(quicwire.Config{
		Identity: s.identity, ResetKeyPath: filepath.Join(s.cfg.StateDir, "reset.key"), Site: s.cfg.Name,
		Listen: s.cfg.Listen, PacketConn: s.cfg.Packets, Handler: s, Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	recs, err := load[peerRecord](s.db, bucketPeers)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for name, rec := range recs {
		s.peers[name] = &peer{rec: rec, changed: time.Now()}
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

// begin starts the groups, and ends deletes that were under way when the daemon ended.
func (s *Site) begin() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	used := map[*group]bool{}
	var deleting []*pair
	for _, p := range s.pairs {
		used[p.group] = true
		if p.rec.State.Status == Deleting {
			deleting = append(deleting, p)
		}
	}
	for _, g := range s.groups {
		g.start()
		if g.role == Secondary && !used[g] {
			s.wg.Go(func() { s.dropGroup(g) })
		}
	}
	for _, p := range deleting {
		s.wg.Go(func() {
			if err := s.DeletePair(s.ctx, p.name, DeleteOptions{Force: true}); err != nil && s.ctx.Err() == nil {
				s.events.add(slog.LevelError, p.object(), "%v", err)
			}
		})
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
			errs = append(errs, g.journal.Close())
		}
	}
	for _, v := range s.volumes {
		errs = append(errs, v.store.close())
	}
	if s.db != nil {
		errs = append(errs, s.db.close())
	}
	return errors.Join(errs...)
}

// Close ends the site: everything acknowledged is in the journals and stores, flushed, and the marks say so. Host I/O has to have ended.
func (s *Site) Close(ctx context.Context) error {
	var err error
	s.closed.Do(func() {
		errs := []error{s.endpoint.Close(ctx)}
		s.cmd.Lock() // a group may be on its way out
		s.closing = true
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
		errs = append(errs, s.db.close())
		_ = os.Remove(s.ringDir) // goes only when no ring is left
		s.events.close()
		err = errors.Join(errs...)
	})
	return err
}

// loadVolumes opens the stores.
func (s *Site) loadVolumes() error {
	recs, err := load[volumeRecord](s.db, bucketVolumes)
	if err != nil {
		return err
	}
	for name, rec := range recs {
		if err := checkName("volume", name); err != nil {
			return err
		}
		v, err := s.openVolume(name, rec, false)
		if err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
		s.volumes[name] = v
	}
	return nil
}

func (s *Site) storePath(name string) string { return filepath.Join(s.cfg.StateDir, "volumes", name) }

func (s *Site) openVolume(name string, rec volumeRecord, create bool) (*Volume, error) {
	st, err := openStore(s.storePath(name), create)
	if err != nil {
		return nil, err
	}
	if wrap := s.cfg.wrapStore; wrap != nil {
		st.file = wrap(name, st.file)
	}
	size, err := st.size()
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	v := &Volume{site: s, id: rec.ID, name: name, store: st, reserved: rec.Reserved, madeBy: rec.MadeBy}
	v.handed.Store(rec.MadeBy != "" && !rec.Written)
	v.size.Store(size)
	v.modified.Store(time.Now().UnixNano())
	return v, nil
}

// loadGroups attaches the pairs and opens the journals.
func (s *Site) loadGroups() error {
	groups, err := load[groupRecord](s.db, bucketGroups)
	if err != nil {
		return err
	}
	marks, err := load[marksRecord](s.db, bucketMarks)
	if err != nil {
		return err
	}
	pairs, err := load[pairRecord](s.db, bucketPairs)
	if err != nil {
		return err
	}
	for name, rec := range groups {
		s.groups[name] = s.newGroup(name, rec)
	}
	for name, rec := range pairs {
		if err := s.loadPair(name, rec); err != nil {
			return err
		}
	}
	for name, g := range s.groups {
		if err := s.openGroup(g, marks[name]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) loadPair(name string, rec pairRecord) error {
	g, v := s.groups[rec.Group], s.volumes[rec.Volume]
	if g == nil || v == nil {
		return fmt.Errorf("pair %s: site.db names group %q and volume %q, which it does not have: run pairfs check", name, rec.Group, rec.Volume)
	}
	if v.Size() != rec.Size {
		return fmt.Errorf("pair %s: the store of volume %s has %d bytes, the pair has %d: the store was changed behind pairfs; restore it, or make it that size and resync", name, rec.Volume, v.Size(), rec.Size)
	}
	p := g.attach(v, name, rec)
	s.pairs[name] = p
	return s.db.loadBitmap(name, p.att.bits)
}

// openGroup opens one group; a journal that was given up, or is not there, is made anew with its pairs suspended.
func (s *Site) openGroup(g *group, m marksRecord) error {
	_, err := os.Lstat(g.dir())
	lost := errors.Is(err, os.ErrNotExist)
	if g.rec.Failed == "" && !lost {
		return g.open(m)
	}
	reason := g.rec.Failed
	if lost {
		reason = "its journal is not there any more"
	}
	s.events.add(slog.LevelError, g.object(), "the journal is made anew: %s", reason)
	for _, p := range g.pairs {
		if out := Step(p.rec.State, EvFailure); out.Verdict == Accept && (lost || p.rec.State.Status != PSUE) {
			g.enter(p, EvFailure, out, runOptions{text: "the journal of group " + g.name + " was lost (" + reason + "): resync from the primary"})
		}
		// A lost restore journal held what the primary keeps and marks until it is restored here; only what hosts wrote here is unknown.
		if p.rec.State.Role == Primary || (lost && p.rec.State.SVOLWrite) {
			p.att.bits.fill()
		}
		p.rec.State.Consistent = p.rec.State.Consistent && !lost
		p.applyAccess()
	}
	// A crash in the middle of what follows begins it anew: the group counts as failed until the new journal is there.
	g.rec.Failed = reason
	err = g.commit(g.attachments(), func(tx *bolt.Tx) error {
		for name, p := range g.pairs {
			if err := put(tx, bucketPairs, name, p.rec); err != nil {
				return err
			}
		}
		return put(tx, bucketGroups, g.name, g.rec)
	})
	if err != nil {
		return err
	}
	if err := errors.Join(g.remove(), g.create()); err != nil {
		return err
	}
	g.rec.Failed = ""
	fresh := marksRecord{LastSeq: m.LastSeq, Seq: m.Seq, PeerDurable: m.PeerDurable, PeerRestored: m.PeerRestored}
	err = s.db.update(func(tx *bolt.Tx) error {
		return errors.Join(put(tx, bucketMarks, g.name, fresh), put(tx, bucketGroups, g.name, g.rec))
	})
	if err != nil {
		return err
	}
	return g.open(fresh)
}

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

// iec writes a size for an operator.
func iec(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// checkSpace refuses what the file system of the state directory cannot hold.
func (s *Site) checkSpace(n int64, what string) error {
	st, err := s.Statfs()
	if err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; n > free {
		return refuse(KindNoSpace, "%s needs %s, the file system of %s has %s free", what, iec(n), s.cfg.StateDir, iec(free))
	}
	return nil
}
