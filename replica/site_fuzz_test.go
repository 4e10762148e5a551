package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// allocated counts the bytes that the process has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// fuzzSite is a state directory as a site left it, kept in memory.
type fuzzSite struct {
	name  string
	files map[string][]byte // by path in the directory; the zeroes at their ends are holes
	sizes map[string]int64
}

func keepSite(t testing.TB, n *node) *fuzzSite {
	s := &fuzzSite{name: n.cfg.Name, files: map[string][]byte{}, sizes: map[string]int64{}}
	must(t, filepath.WalkDir(n.cfg.StateDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(n.cfg.StateDir, path)
		s.files[rel], s.sizes[rel] = bytes.TrimRight(b, "\x00"), int64(len(b))
		return err
	}))
	return s
}

// putDown makes the directory again at another place.
func (s *fuzzSite) putDown(t testing.TB, dir string) {
	for rel, b := range s.files {
		path := filepath.Join(dir, rel)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, b, 0o600))
		must(t, os.Truncate(path, s.sizes[rel]))
	}
}

// fuzzMemory is what a start may allocate: the windows of a few journals, the endpoint, and the bitmaps of volumes that are there.
const fuzzMemory = 96 << 20

var fuzzBuckets = [][]byte{bucketSite, bucketPeers, bucketVolumes, bucketGroups, bucketMarks, bucketPairs, bucketRings, bucketBitmaps}

// FuzzSite: whatever an entry of site.db says, with the checksum of what it says, the site refuses to start, or it starts, shows its state, serves its
// volumes and ends. Check never fails in another way than by saying so. Nothing panics, and memory is bounded.
func FuzzSite(f *testing.F) {
	d := newDuo(f)
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	_, err := d.a.vol("x").WriteAt(f.Context(), make([]byte, 4096), 1<<20, true)
	must(f, err)
	must(f, d.a.site.ResyncPair(f.Context(), "y"))
	d.a.awaitBoth(PAIR, "y")
	d.a.close()
	d.b.close()
	sites := []*fuzzSite{keepSite(f, d.a), keepSite(f, d.b)}
	for i, s := range sites {
		_, err := walkPages(bytes.NewReader(s.whole("site.db")), s.sizes["site.db"], func(bucket string, key, value []byte) {
			for n, b := range fuzzBuckets {
				if bucket == string(b) {
					f.Add(i == 1, uint8(n), string(key), value)
				}
			}
		})
		must(f, err)
	}
	f.Add(false, uint8(slices.IndexFunc(fuzzBuckets, func(b []byte) bool { return &b[0] == &bucketBitmaps[0] })), "x", make([]byte, bitmapPage))
	f.Fuzz(func(t *testing.T, second bool, bucket uint8, key string, value []byte) {
		s := sites[0]
		if second {
			s = sites[1]
		}
		if key == "" || len(key) > 1000 || len(value) > 64<<10 {
			return
		}
		dir, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
		must(t, err)
		defer os.RemoveAll(dir)
		state := filepath.Join(dir, "state")
		s.putDown(t, state)
		if !putFuzzed(t, filepath.Join(state, "site.db"), fuzzBuckets[int(bucket)%len(fuzzBuckets)], key, value) {
			return
		}
		startFuzzed(t, Config{StateDir: state, Name: s.name, Listen: "127.0.0.1:0", RingDir: dir, Memory: memoryMin, Logger: slog.New(slog.DiscardHandler)})
	})
}

func (s *fuzzSite) whole(rel string) []byte {
	return append(bytes.Clone(s.files[rel]), make([]byte, s.sizes[rel]-int64(len(s.files[rel])))...)
}

// putFuzzed stores an entry with its checksum; false if it is none that can be stored.
func putFuzzed(t *testing.T, path string, bucket []byte, key string, value []byte) bool {
	d, _, err := openDatabase(path, "")
	must(t, err)
	err = d.update(func(tx *bolt.Tx) error {
		switch {
		case bytes.Equal(bucket, bucketPeers): // nobody is called but this host
			var p peerRecord
			if err := json.Unmarshal(value, &p); err == nil {
				p.Address = "127.0.0.1:9"
				return put(tx, bucket, key, p)
			}
		case bytes.Equal(bucket, bucketBitmaps):
			b, err := tx.Bucket(bucket).CreateBucketIfNotExists([]byte(key))
			if err != nil {
				return err
			}
			return setEntry(tx, b, bitmapName(key), value[:min(len(value), 4)], value)
		case bytes.Equal(bucket, bucketSite) && key == string(keySum):
			return nil
		}
		return setEntry(tx, tx.Bucket(bucket), string(bucket), []byte(key), value)
	})
	must(t, d.close())
	return err == nil
}

// startFuzzed checks and starts a site, and uses it a little.
func startFuzzed(t *testing.T, cfg Config) {
	before := allocated()
	_ = Check(cfg.StateDir, func(Finding) {})
	s, err := Open(context.Background(), cfg)
	if n := allocated() - before; n > fuzzMemory {
		t.Errorf("a start allocated %d bytes", n)
	}
	if err != nil {
		return
	}
	_, err = json.Marshal(s.Status())
	must(t, err)
	for _, v := range s.Volumes() {
		b := make([]byte, 4096)
		_, _ = v.ReadAt(b, 0)
		_, _ = v.WriteAt(t.Context(), b, max(v.Size()-4096, 0), true)
	}
	_ = s.Close(context.Background()) // what cannot be stored at the end is told
	if err := verify(filepath.Join(cfg.StateDir, "site.db")); err != nil {
		t.Errorf("the site left a database that is not sound: %v", err)
	}
}
