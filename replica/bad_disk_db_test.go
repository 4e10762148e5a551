package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// What the disk of the state directory does to site.db.

// filledDatabase makes a database with branches, pages that go on, and buckets in buckets, and gives its bytes: as a stop in good order leaves
// them, or as a kill does.
func filledDatabase(t testing.TB, killed bool) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.db")
	d, _, err := openDatabase(path, "tokyo")
	must(t, err)
	bits := newBitmap(1 << 40)
	for i := range int64(3) {
		bits.set(i * bitmapPageRegions)
	}
	must(t, d.update(func(tx *bolt.Tx) error {
		for i := range 60 {
			name := fmt.Sprintf("volume-%03d", i)
			if err := put(tx, bucketVolumes, name, volumeRecord{ID: uint64(i)}); err != nil {
				return err
			}
			if i >= 10 {
				continue
			}
			if err := errors.Join(put(tx, bucketPairs, name, pairRecord{Volume: name, Group: "g", Size: 1 << 40}), putBitmap(tx, name, bits, []int{3})); err != nil {
				return err
			}
		}
		return putBitmap(tx, "volume-000", bits, bits.takeDirty())
	}))
	must(t, d.update(func(tx *bolt.Tx) error {
		return errors.Join(dropPair(tx, "volume-007"), remove(tx, bucketVolumes, "volume-008"), put(tx, bucketGroups, "g", groupRecord{Peer: strings.Repeat("x", 9000)}))
	}))
	var image []byte
	if killed {
		image, err = os.ReadFile(path)
		must(t, err)
	}
	must(t, d.close())
	if !killed {
		image, err = os.ReadFile(path)
		must(t, err)
	}
	return image
}

// entriesOf lists what a walk finds.
func entriesOf(image []byte) (list []string, err error) {
	_, err = walkPages(bytes.NewReader(image), int64(len(image)), func(bucket string, key, value []byte) {
		list = append(list, bucket+"\x00"+string(key)+"\x00"+string(value))
	})
	return list, err
}

// longSweep reports whether a sweep takes every place and not some of them: make disks.
func longSweep() bool { return os.Getenv("PAIRFS_DISKS") != "" }

// TestDatabaseFlips turns over one bit of every byte of a database that is in use, whether pairfs was stopped in good order before or killed: either
// that is found before bbolt sees the file, or nothing that the database says is another thing.
func TestDatabaseFlips(t *testing.T) {
	t.Parallel()
	rng := newRand(testSeed(t))
	for _, killed := range []bool{false, true} {
		image := filledDatabase(t, killed)
		if err := verifyPages(bytes.NewReader(image), int64(len(image))); err != nil {
			t.Fatalf("a sound database: %v", err)
		}
		want, err := entriesOf(image)
		must(t, err)
		pages := 0
		for len(image) > 4096 && bytes.Equal(image[len(image)-4096:], make([]byte, 4096)) {
			image = image[:len(image)-4096] // the room behind what is in use
		}
		found, harmless := 0, 0
		for at := range image {
			if at%4096 >= 64 && at%64 != 0 && !longSweep() {
				continue // heads of pages and entries are at their beginning
			}
			bit := byte(1) << rng.IntN(8)
			image[at] ^= bit
			var meta *brokenMeta
			err := verifyPages(bytes.NewReader(image), int64(len(image)))
			switch {
			case err == nil, errors.As(err, &meta):
				harmless++
				if got, err := entriesOf(image); err != nil || !equalLists(got, want) && !ofNewer(got) {
					t.Errorf("killed %v: bit %#x of byte %d: other entries, and no word: %v", killed, bit, at, err)
				}
			case errors.Is(err, errDamaged):
				found++
			default:
				t.Errorf("killed %v: bit %#x of byte %d: %v", killed, bit, at, err)
			}
			if at%4096 == 0 {
				pages++
			}
			image[at] ^= bit
		}
		t.Logf("killed %v: %d pages, %d flips were found, %d are where nothing stands", killed, pages, found, harmless)
		if found < 400 {
			t.Errorf("%d flips were found", found)
		}
	}
}

// TestDatabaseNamesFlip: a bit turns over in a name by which the sum of the entries is found. Without the sum nothing else would be noticed.
func TestDatabaseNamesFlip(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		image := filledDatabase(t, killed)
		want, err := entriesOf(image)
		must(t, err)
		for _, name := range [][]byte{bucketSite, keySum, keyFormat} {
			found := 0
			for at := 0; ; at++ {
				next := bytes.Index(image[at:], name)
				if next < 0 {
					break
				}
				at += next
				for bit := range 8 * len(name) {
					image[at+bit/8] ^= 1 << (bit % 8)
					if err := verifyPages(bytes.NewReader(image), int64(len(image))); errors.Is(err, errDamaged) {
						found++
					} else if got, err := entriesOf(image); err != nil || !equalLists(got, want) && !ofNewer(got) {
						t.Errorf("killed %v: bit %d of %q at %d: other entries, and no word", killed, bit, name, at)
					}
					image[at+bit/8] ^= 1 << (bit % 8)
				}
			}
			if found < 8*len(name) {
				t.Errorf("killed %v: of %q %d flips were found", killed, name, found)
			}
		}
	}
}

// ofNewer reports whether a database says that it is of a newer pairfs, which is refused when it is opened.
func ofNewer(entries []string) bool {
	head := string(bucketSite) + "\x00" + string(keyFormat) + "\x00"
	return slices.ContainsFunc(entries, func(e string) bool {
		v, ok := strings.CutPrefix(e, head)
		return ok && len(v) == 4 && binary.LittleEndian.Uint32([]byte(v)) > dbFormat
	})
}

func equalLists(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// stateFiles reads everything in a state directory but what a start may write: the ledgers and the locks of others.
func stateFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// TestBadDatabase puts every kind of wreck in the place of site.db: the start is refused with what to do, nothing is changed, check says the same, and
// with the good one back the pair goes on.
func TestBadDatabase(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	w := newWriter(d.a, "x")
	must(t, w.write(t.Context(), 0, 1, 9, true))
	path := filepath.Join(d.a.cfg.StateDir, "site.db")
	d.a.reopen()
	killed, err := os.ReadFile(path) // as a kill at this moment leaves it
	must(t, err)
	must(t, w.write(t.Context(), 0, 20, 9, true))
	d.a.close()
	good, err := os.ReadFile(path)
	must(t, err)
	other := newNode(t, "berlin", nil)
	other.open()
	other.volume("x")
	other.close()
	foreign, err := os.ReadFile(filepath.Join(other.cfg.StateDir, "site.db"))
	must(t, err)
	flipped := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 8
		return b
	}
	entry := bytes.Index(good, []byte(`"Volume":"x"`)) // of the pair; an older page may have it first
	for i := entry; i >= 0; i = nextIndex(good, i+1, []byte(`"Volume":"x"`)) {
		if errors.Is(verifyPages(bytes.NewReader(flipped(good, i+10)), int64(len(good))), errDamaged) {
			entry = i + 10
		}
	}
	for _, row := range []struct {
		name    string
		content []byte // nil: no file
		start   []string
		check   []string
	}{
		{"lost", nil, []string{"has no site.db", "move the whole directory away", "Lost database"}, []string{"BAD is missing", "Lost database"}},
		{"empty", []byte{}, []string{"has no site.db", "Lost database"}, []string{"BAD is empty", "Lost database"}},
		{"its end is missing", good[:2*4096], []string{"is damaged", "nothing was changed", "Lost database"}, []string{"BAD cannot be used", "Lost database"}},
		{"something else", bytes.Repeat([]byte("pairfs"), 9000), []string{"is damaged", "neither meta page is valid"}, []string{"BAD cannot be used"}},
		{"of another site", foreign, []string{`belongs to site "berlin"`}, nil},
		{"a flip in an entry", flipped(good, entry), []string{"are not those that were stored", "Lost database"}, []string{"BAD cannot be used", "are not those that were stored"}},
		{"a flip in a meta page behind a kill", flipped(killed, newestMeta(killed)*4096+16+20), []string{"fails its checksum", "was not stopped in good order"}, []string{"BAD cannot be used"}},
	} {
		must(t, os.Remove(path))
		if row.content != nil {
			must(t, os.WriteFile(path, row.content, 0o600))
		}
		before := stateFiles(t, d.a.cfg.StateDir)
		err := d.a.tryOpen()
		if err == nil {
			t.Fatalf("%s: the site started", row.name)
		}
		says(t, err, row.start...)
		if said := d.a.findings()["site.db"]; row.check != nil {
			for _, word := range row.check {
				if !strings.Contains(said, word) {
					t.Errorf("%s: check says %q", row.name, said)
				}
			}
		}
		for name, content := range stateFiles(t, d.a.cfg.StateDir) {
			if was, ok := before[name]; (!ok || was != content) && !(row.name == "of another site" && name == path) {
				t.Errorf("%s: %s was changed by a start that was refused", row.name, name)
			}
		}
		if row.content == nil {
			must(t, os.WriteFile(path, nil, 0o600))
		}
	}
	must(t, os.WriteFile(path, flipped(good, newestMeta(good)*4096+16+20), 0o600)) // the other one stands for the same
	if said := d.a.findings()["site.db"]; !strings.HasPrefix(said, "BAD 1 volume") || !strings.Contains(said, "nothing is lost, and the next start mends it") {
		t.Errorf("check says %q", said)
	}
	d.a.open()
	if d.a.tells("site", "the other one stands for the same, so nothing is lost") != 1 {
		t.Errorf("that a meta page was damaged is not told: %v", d.a.site.Events())
	}
	d.wait("the link is up", d.a.linked)
	d.a.awaitBoth(PAIR, "x")
	must(t, w.write(t.Context(), 0, 40, 9, true))
	d.a.suspend("g", SuspendOptions{}, "x")
	w.check(d.b, everyAck)
	d.a.reopen()
	if d.a.tells("site", "damaged") != 0 {
		t.Error("the meta page was not made good")
	}
}

// newestMeta gives the number of the meta page that holds.
func newestMeta(image []byte) int {
	if ne.Uint64(image[16+48:]) > ne.Uint64(image[4096+16+48:]) {
		return 0
	}
	return 1
}

func nextIndex(b []byte, from int, what []byte) int {
	if i := bytes.Index(b[from:], what); i >= 0 {
		return from + i
	}
	return -1
}

// TestOlderFormat: a database of before its entries had a sum gets one when it is opened, and loses nothing.
func TestOlderFormat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "site.db")
	must(t, os.WriteFile(path, filledDatabase(t, false), 0o600))
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSite)
		return errors.Join(b.Delete(keySum), b.Delete(keyTwins), b.Put(keyFormat, []byte{1, 0, 0, 0}))
	}))
	must(t, db.Close())
	must(t, verify(path))
	d, _, err := openDatabase(path, "tokyo")
	must(t, err)
	pairs, err := load[pairRecord](d, bucketPairs)
	if err != nil || len(pairs) != 9 {
		t.Errorf("it has %d pairs: %v", len(pairs), err)
	}
	must(t, d.close())
	image, err := os.ReadFile(path)
	must(t, err)
	bad := bytes.ReplaceAll(image, []byte(`"Volume":"volume-003"`), []byte(`"Volume":"volume-0#3"`))
	if bytes.Equal(bad, image) || !errors.Is(verifyPages(bytes.NewReader(bad), int64(len(bad))), errDamaged) {
		t.Error("another value in it is not found")
	}
}

// flip turns over a bit of a copy.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestNothingBeginsOverAnOldSite: a state directory that lost its database does not become a new site, whatever of the old one is still to be seen.
func TestNothingBeginsOverAnOldSite(t *testing.T) {
	t.Parallel()
	for _, left := range []string{"volumes/x", "journals/g/000001", "kept/x-1/list", "audit", "history"} {
		n := newNode(t, "tokyo", nil)
		path := filepath.Join(n.cfg.StateDir, left)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte("x"), 0o600))
		for _, empty := range []bool{false, true} {
			if empty {
				must(t, os.WriteFile(filepath.Join(n.cfg.StateDir, "site.db"), nil, 0o600))
			}
			if err := n.tryOpen(); err == nil {
				t.Errorf("a new site began beside %s", left)
				n.close()
			} else {
				says(t, err, "has no site.db", filepath.Join(n.cfg.StateDir, strings.Split(left, "/")[0]))
			}
		}
	}
	n := newNode(t, "tokyo", nil) // cut off before it made its database
	must(t, os.WriteFile(filepath.Join(n.cfg.StateDir, "site.db"), nil, 0o600))
	n.open()
	if d := n.tells("site", "a new site tokyo was made"); d != 1 {
		t.Errorf("that it is new is told %d times", d)
	}
	n.close()
}
