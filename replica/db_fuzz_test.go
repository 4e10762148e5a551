package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// smallDatabase makes a database with pages of 1 KiB that has an entry of each kind, and gives its bytes without the room behind what is in use.
func smallDatabase(t testing.TB, killed bool) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 1024, NoFreelistSync: true})
	must(t, err)
	must(t, db.Close())
	d, _, err := openDatabase(path, "tokyo")
	must(t, err)
	bits := newBitmap(4 << 30)
	bits.set(0)
	bits.set(bitmapPageRegions)
	must(t, d.update(func(tx *bolt.Tx) error {
		_, err := next(tx, "volumes")
		return errors.Join(err, put(tx, bucketPeers, "osaka", peerRecord{Address: "127.0.0.1:9"}), put(tx, bucketVolumes, "x", volumeRecord{ID: 16}),
			put(tx, bucketGroups, "g", groupRecord{Role: Primary, Peer: "osaka"}), put(tx, bucketMarks, "g", marksRecord{LastSeq: 9}),
			put(tx, bucketPairs, "x", pairRecord{Volume: "x", Group: "g", Size: 4 << 30}), putBitmap(tx, "x", bits, bits.takeDirty()))
	}))
	image, err := os.ReadFile(path)
	must(t, err)
	must(t, d.close())
	if !killed {
		image, err = os.ReadFile(path)
		must(t, err)
	}
	for len(image) > 1024 && bytes.Equal(image[len(image)-1024:], make([]byte, 1024)) {
		image = image[:len(image)-1024]
	}
	return image
}

// mendDatabase gives both meta pages their checksums, and the database the sum of the entries that it has, where there is a place for it.
func mendDatabase(image []byte) {
	for _, at := range []int{0, 1024, 4096} {
		if len(image) < at+pageHeader+metaSize || ne.Uint32(image[at+pageHeader:]) != metaMagic {
			continue
		}
		meta := image[at+pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:56])
		ne.PutUint64(meta[56:], sum.Sum64())
	}
	sum, had := uint64(0), []byte(nil)
	_, err := walkPages(bytes.NewReader(image), int64(len(image)), func(bucket string, key, value []byte) {
		if bucket == string(bucketSite) && string(key) == string(keySum) && len(value) == 8 {
			had = append(append([]byte(nil), key...), value...)
			return
		}
		sum += entrySum(bucket, key, value)
	})
	if at := bytes.LastIndex(image, had); err == nil && had != nil && at >= 0 {
		binary.LittleEndian.PutUint64(image[at+len(keySum):], sum)
	}
}

// boltEntries lists what bbolt finds, as entriesOf does.
func boltEntries(path string) (list []string, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		var walk func(b *bolt.Bucket, name string) error
		walk = func(b *bolt.Bucket, name string) error {
			return b.ForEach(func(k, v []byte) error {
				if v == nil && b.Bucket(k) != nil {
					return walk(b.Bucket(k), name+"/"+string(k))
				}
				list = append(list, name+"\x00"+string(k)+"\x00"+string(v))
				return nil
			})
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return walk(b, string(name)) })
	})
	return list, err
}

// FuzzDatabase: whatever stands in the place of site.db, either it is refused before bbolt sees it, or bbolt finds in it what was looked at, and a
// change of it is one that a look finds sound again. Nothing panics, and what is allocated is bounded by the file.
func FuzzDatabase(f *testing.F) {
	for _, killed := range []bool{false, true} {
		f.Add(smallDatabase(f, killed), false)
		f.Add(smallDatabase(f, killed), true)
	}
	f.Add([]byte("SQLite format 3\x00"), false)
	dir, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	must(f, err)
	f.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "site.db")
	f.Fuzz(func(t *testing.T, image []byte, mend bool) {
		if len(image) > 256<<10 {
			return
		}
		image = bytes.Clone(image)
		if mend {
			mendDatabase(image)
		}
		before := allocated()
		err := verifyPages(bytes.NewReader(image), int64(len(image)))
		if n := allocated() - before; n > 1<<20+8*uint64(len(image)) {
			t.Fatalf("a look at %d bytes allocated %d", len(image), n)
		}
		var meta *brokenMeta
		switch {
		case errors.Is(err, errDamaged):
			return
		case err != nil && !errors.As(err, &meta):
			t.Fatalf("neither sound nor damaged: %v", err)
		}
		want, err := entriesOf(image)
		must(t, err)
		must(t, os.WriteFile(path, image, 0o600))
		got, err := boltEntries(path)
		must(t, err)
		if !equalLists(got, want) {
			t.Fatalf("bbolt finds %q, the look before found %q", got, want)
		}
		d, _, err := openDatabase(path, "")
		if err != nil {
			return // a newer one, or one that lacks what each has
		}
		d.readsAll()
		err = d.update(func(tx *bolt.Tx) error { return put(tx, bucketVolumes, "new", volumeRecord{ID: 99}) })
		must(t, errors.Join(err, d.close(), verify(path)))
	})
}

// readsAll reads every bucket, as a start does. What is refused is none of its business.
func (d *database) readsAll() {
	_, _ = load[peerRecord](d, bucketPeers)
	_, _ = load[volumeRecord](d, bucketVolumes)
	_, _ = load[groupRecord](d, bucketGroups)
	_, _ = load[marksRecord](d, bucketMarks)
	_, _ = load[ringRecord](d, bucketRings)
	pairs, _ := load[pairRecord](d, bucketPairs)
	for name := range pairs {
		_ = d.loadBitmap(name, newBitmap(4<<30))
	}
}

// TestDatabaseSaysNonsense: an entry with the checksum of what it says, which no pairfs stores, is refused at the start and found by check, before a
// path, memory or a place in a table is made of it.
func TestDatabaseSaysNonsense(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	d.a.close()
	path := filepath.Join(d.a.cfg.StateDir, "site.db")
	good, err := os.ReadFile(path)
	must(t, err)
	outside := filepath.Join(filepath.Dir(d.a.cfg.StateDir), "outside")
	must(t, os.MkdirAll(outside, 0o700))
	group := groupRecord{Role: Primary, Peer: "osaka", PeerGroup: "g@tokyo", Size: journalMin, Volumes: 1, RingSize: ringMin}
	pair := pairRecord{State: PairState{Role: Primary, Status: PAIR}, Volume: "y", Peer: "osaka", Group: "g", Number: 2, Generation: 3, Size: 4096}
	with := func(p pairRecord, change func(*pairRecord)) pairRecord { change(&p); return p }
	withGroup := func(g groupRecord, change func(*groupRecord)) groupRecord { change(&g); return g }
	for _, row := range []struct {
		bucket []byte
		name   string
		record any
		says   string
	}{
		{bucketVolumes, "../../key.pem", volumeRecord{}, "volume name"},
		{bucketGroups, "../../../outside", withGroup(group, func(g *groupRecord) { g.Failed = "so it is made anew" }), "group name"},
		{bucketGroups, "h", withGroup(group, func(g *groupRecord) { g.Volumes = 1 << 60 }), "1152921504606846976 and 0 journal volumes"},
		{bucketGroups, "h", withGroup(group, func(g *groupRecord) { g.Size = -1 }), "a journal volume of -1 bytes"},
		{bucketGroups, "h", withGroup(group, func(g *groupRecord) { g.Role = 9 }), "role 9"},
		{bucketPairs, "a/b", pair, "pair name"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.Size = 1 << 62 }), "4611686018427387904 bytes"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.Size = -1 }), "-1 bytes"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.State.Role = 7 }), "role 7"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.State.Status = 77 }), "status(77)"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.State.Suspend = 88 }), "suspend-type(88)"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.Volume = "../x" }), "volume name"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.Volume = "x" }), "is in pair"},
		{bucketPairs, "y", with(pair, func(p *pairRecord) { p.Number = 1 }), "number 1 of group"},
		{bucketPeers, "berlin", peerRecord{Address: "127.0.0.1:9", Fingerprint: "SHA256:x"}, "berlin"},
		{bucketRings, "../g", ringRecord{}, "group name"},
	} {
		must(t, os.WriteFile(path, good, 0o600))
		db, _, err := openDatabase(path, "")
		must(t, err)
		must(t, errors.Join(db.update(func(tx *bolt.Tx) error { return put(tx, row.bucket, row.name, row.record) }), db.close()))
		d.a.refuses(row.name, path, row.says, "Lost database")
		if said := d.a.findings()["site.db"]; !strings.HasPrefix(said, "BAD ") || !strings.Contains(said, row.says) {
			t.Errorf("%s: check says %q", row.name, said)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a folder outside of the state directory: %v", err)
	}
	must(t, os.WriteFile(path, good, 0o600))
	d.a.open()
}
