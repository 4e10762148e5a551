package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// takeovers is how many takeovers a test makes: a half of PAIRFS_TAKEOVERS (50) for each file system.
func takeovers(t *testing.T) int {
	t.Helper()
	n := 50
	if s := os.Getenv("PAIRFS_TAKEOVERS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 2 {
			t.Fatalf("PAIRFS_TAKEOVERS=%q: a number from 2 on", s)
		}
	}
	return (n + 1) / 2
}

const (
	fsWriters = 4  // that keep files
	fsFiles   = 16 // of each
)

// fsFile names a file that a writer keeps. It is renewed as careful programs do it: a new file is written and synced, and takes the name.
type fsFile struct{ writer, file int }

func (f fsFile) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("w%d", f.writer), fmt.Sprintf("f%d", f.file))
}

// fsKept is a version of a file that its file system promised to keep, and when it did.
type fsKept struct {
	version int
	at      time.Time
}

// fsLoad works on a mounted file system: writers that renew files, and one that makes, fills, moves and removes what nobody syncs.
type fsLoad struct {
	dir  string
	end  chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	version int
	kept    map[fsFile][]fsKept
	err     error // the first
}

// startFiles begins to work; versions go on behind version.
func startFiles(t *testing.T, dir string, seed uint64, version int) *fsLoad {
	t.Helper()
	l := &fsLoad{dir: dir, end: make(chan struct{}), version: version, kept: map[fsFile][]fsKept{}}
	for w := range fsWriters {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("w%d", w)), 0o700); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		l.done.Go(func() { l.until(func() error { return l.renew(rng, fsFile{w, rng.IntN(fsFiles)}) }) })
	}
	rng := rand.New(rand.NewPCG(seed, fsWriters))
	l.done.Go(func() { l.until(func() error { return l.churn(rng) }) })
	return l
}

// until repeats step until it fails or the load is stopped.
func (l *fsLoad) until(step func() error) {
	for {
		select {
		case <-l.end:
			return
		default:
		}
		if err := step(); err != nil {
			l.mu.Lock()
			l.err = cmpErr(l.err, err)
			l.mu.Unlock()
			return
		}
	}
}

// stop ends the load, which may have ended by itself, and returns its first error.
func (l *fsLoad) stop() error {
	close(l.end)
	l.done.Wait()
	return l.err
}

// failed returns why the load has ended by itself, nil if it goes on.
func (l *fsLoad) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fsText is what a version of a file holds; its length follows from the version.
func fsText(f fsFile, version int) string {
	return strings.Repeat(fmt.Sprintf("writer %d file %d version %d\n", f.writer, f.file, version), 1+version*7919%1500)
}

// renew writes the next version of a file. A half of them is synced as far as the name goes, and that is a promise.
func (l *fsLoad) renew(rng *rand.Rand, f fsFile) error {
	l.mu.Lock()
	l.version++
	version := l.version
	l.mu.Unlock()
	path := f.path(l.dir)
	if err := writeSynced(path+".new", fsText(f, version)); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if rng.IntN(2) == 0 {
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[f] = append(l.kept[f], fsKept{version, time.Now()})
	return nil
}

func writeSynced(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Sync()
}

// churn does one of what file systems journal.
func (l *fsLoad) churn(rng *rand.Rand) error {
	dir := filepath.Join(l.dir, fmt.Sprintf("c%d", rng.IntN(8)))
	path := filepath.Join(dir, fmt.Sprint(rng.IntN(40)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	switch rng.IntN(8) {
	case 0:
		err = os.RemoveAll(dir)
	case 1:
		err = os.Remove(path)
	case 2:
		err = os.Truncate(path, rng.Int64N(1<<16))
	case 3:
		err = os.Rename(path, filepath.Join(dir, fmt.Sprint(rng.IntN(40))))
	case 4:
		err = os.Link(path, filepath.Join(dir, fmt.Sprint(rng.IntN(40))))
	case 5:
		err = os.Symlink(path, filepath.Join(dir, fmt.Sprint("s", rng.IntN(40))))
	default:
		err = os.WriteFile(path, make([]byte, rng.IntN(1<<18)), 0o600)
	}
	if os.IsNotExist(err) || os.IsExist(err) {
		return nil
	}
	return err
}

// check reads all files below another mount: each is one whole version, and not one from before what the marker covers. It returns how many
// files were promised before the marker.
func (l *fsLoad) check(t *testing.T, dir string, last marker) (promised int) {
	t.Helper()
	for w := range fsWriters {
		for i := range fsFiles {
			f, want := fsFile{w, i}, 0
			for _, k := range l.kept[f] {
				if k.at.Before(last.begun) {
					want = k.version
				}
			}
			if want > 0 {
				promised++
			}
			b, err := os.ReadFile(f.path(dir))
			if os.IsNotExist(err) && want == 0 {
				continue
			}
			var writer, file, have int
			fmt.Sscanf(string(b), "writer %d file %d version %d\n", &writer, &file, &have)
			if err != nil || have < want || string(b) != fsText(f, have) {
				t.Errorf("%s has version %d and %d bytes (%v); version %d was synced before marker %s", f.path(dir), have, len(b), err, want, last.name)
			}
		}
	}
	return promised
}

// fsKind is a file system with its size, the options of its mount and the check of it that changes nothing.
type fsKind struct {
	name, options string
	size          int64
	check         []string
}

var fsKinds = []fsKind{
	{"ext4", "discard", 128 * mib, []string{"e2fsck", "-f", "-n"}},
	{"xfs", "discard,nouuid", 384 * mib, []string{"xfs_repair", "-n"}},
}

// TestAppFilesystems takes a file system over at random moments of its work, there and back: by the loss of the primary, by one whose link was cut
// before, and by an exchange of the roles under the feet of its host. Each time it mounts at the new primary, which replays its journal, has what
// was synced before the last restored marker, and is clean. What was lost is resynced, with the next work already under way.
func TestAppFilesystems(t *testing.T) {
	needApps(t)
	for _, kind := range fsKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			n := takeovers(t)
			f := &fsTakeovers{standby: startStandby(t, kind.size), kind: kind, count: map[string]int{}}
			f.rng = rand.New(rand.NewPCG(f.Seed, 1))
			f.dir, f.umount = loopMount(t, f.disk(), kind.name, kind.options, true)
			f.replicate()
			f.load = startFiles(t, f.dir, f.rng.Uint64(), 0)
			for range n {
				f.round()
			}
			if err := f.load.stop(); err != nil {
				t.Errorf("the load on the last primary: %v", err)
			}
			f.awaitPair()
			f.umount()
			f.primary.AwaitDrained("pair0")
			f.SameVolumes("disk")
			Run(t, kind.check[0], append(kind.check[1:len(kind.check):len(kind.check)], f.secondary.Path("disk"))...)
			t.Logf("%d takeovers of %s, clean after each: %v; %d files had to be there, of %d versions; the takeover took %s; the mount %s", n, kind.name, f.count, f.promised, f.versions, spread(f.took), spread(f.mounts))
			if f.promised == 0 {
				t.Error("no file was promised before a marker: the test shows nothing of them")
			}
		})
	}
}

// fsTakeovers is the state of a test between two takeovers.
type fsTakeovers struct {
	*standby
	kind   fsKind
	rng    *rand.Rand
	dir    string
	umount func()
	load   *fsLoad

	count              map[string]int
	promised, versions int
	took, mounts       []time.Duration
}

// moment waits up to a time that chance chooses.
func (f *fsTakeovers) moment(most time.Duration) {
	<-time.After(time.Duration(f.rng.Int64N(int64(most))))
}

// round is one takeover, from a pair in step, or on its way to it, to the next.
func (f *fsTakeovers) round() {
	t := f.t
	t.Helper()
	f.awaitPair()
	m := f.startMarks()
	f.moment(1500 * time.Millisecond)
	if err := f.load.failed(); err != nil {
		t.Fatalf("the load ended though its primary lives: %v", err)
	}
	m.losing.Store(true)
	way, kinds := "killed", []string{"SVOL-SSUS-takeover"}
	switch f.rng.IntN(4) {
	case 0:
		way, kinds = "exchanged", []string{"swap-takeover"}
	case 1:
		way = "cut and killed"
		f.Link.Cut(true)
		f.moment(500 * time.Millisecond)
		f.primary.Kill9()
	default:
		f.primary.Kill9()
	}
	answer, took := f.takeover(kinds...)
	m.stop()
	last, _ := m.lastRestored(answer)
	lost := f.load
	err := lost.stop()
	f.umount()
	if f.kind.name == "ext4" && needsRecovery(t, f.disk()) {
		f.count["journal to replay"]++
	}
	f.count[way]++
	f.took = append(f.took, took)

	begun := time.Now()
	f.dir, f.umount = loopMount(t, f.disk(), f.kind.name, f.kind.options, false)
	mounted := time.Since(begun)
	f.mounts = append(f.mounts, mounted)
	promised := lost.check(t, f.dir, last)
	f.promised, f.versions = f.promised+promised, lost.version
	f.umount()
	Run(t, f.kind.check[0], append(f.kind.check[1:len(f.kind.check):len(f.kind.check)], f.disk())...)
	f.dir, f.umount = loopMount(t, f.disk(), f.kind.name, f.kind.options, false)
	f.load = startFiles(t, f.dir, f.rng.Uint64(), lost.version)
	t.Logf("%s: takeover to %s in %v, mounted in %v, %d files had to be there of %d markers; the load ended with %v\n\t%s",
		way, f.primary.Name, took.Round(time.Millisecond), mounted.Round(time.Millisecond), promised, len(m.all), err, answer)

	f.Link.Cut(false)
	if way != "exchanged" {
		if f.rejoin() {
			f.count["both sides wrote"]++
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}
