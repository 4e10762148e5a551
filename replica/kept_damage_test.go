package replica

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// madeSet writes a small set of a volume of five regions and a bit: data, zeroes, a gap, data and zeroes up to the end. It is what the format
// says, written by hand.
func madeSet(t testing.TB) (dir string, image []byte) {
	t.Helper()
	const r = regionSize
	image = make([]byte, 5*r+100)
	for i := range r {
		image[i], image[3*r+i] = byte(i%251)+1, byte(i%13)+1
	}
	k := Kept{
		Site: "tokyo", Pair: "pair0", Volume: "db", Peer: "osaka", Role: Primary, Size: int64(len(image)), Generation: 7, Seq: 12, SplitSeq: 9,
		Held: time.Unix(1e9, 5), Time: time.Unix(1.1e9, 0), Why: "resync pair0 with discard=here", Ranges: 4, Bytes: 4*r + 100, DataBytes: 2 * r,
	}
	list := k.head()
	for _, e := range []KeptRange{{0, r, false, crc32.Checksum(image[:r], castagnoli)}, {r, r, true, 0}, {3 * r, r, false, crc32.Checksum(image[3*r:4*r], castagnoli)}, {4 * r, r + 100, true, 0}} {
		list = e.appendTo(list)
	}
	dir = filepath.Join(t.TempDir(), "pair0-20260203T040506Z")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "list"), sumKept(append(list, k.foot()...)), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "image"), image, 0o600))
	return dir, image
}

const goldenList = `pairfs kept set 1
site: tokyo
pair: pair0
volume: db
peer: osaka
role: P-VOL
size: 327780
generation: 7
sequence: 12
split-sequence: 9
held: 2001-09-09T01:46:40.000000005Z
kept: 2004-11-09T11:33:20.000000000Z
why: resync pair0 with discard=here

               0            65536 deb8886b
           65536            65536   zeroes
          196608            65536 6d933e83
          262144            65636   zeroes

ranges:                4
bytes:           262244
data-bytes:           131072
crc32c: 09d97d9f
`

// TestKeptListGolden pins the format.
func TestKeptListGolden(t *testing.T) {
	t.Parallel()
	dir, image := madeSet(t)
	b, err := os.ReadFile(filepath.Join(dir, "list"))
	must(t, err)
	if diff := cmp.Diff(goldenList, string(b)); diff != "" {
		t.Error(diff)
	}
	k, err := OpenKeptSet(dir)
	must(t, err)
	defer k.Close()
	set := newRegionSet(int64(len(image)))
	set.add(0, 2)
	set.add(3, 6)
	wantKept(t, k, set, image)
	if int64(len(b)) != k.Info().ListBytes {
		t.Errorf("%d bytes of list, it says %d", len(b), k.Info().ListBytes)
	}
	for _, c := range []struct{ from, n int64 }{{0, 1}, {regionSize - 1, 2}, {2*regionSize - 5, regionSize + 10}, {4*regionSize - 1, 1 << 20}, {int64(len(image)) - 1, 10}, {int64(len(image)), 10}, {1 << 40, 1}, {-1, 1}} {
		got := bytes.Repeat([]byte{0xee}, int(c.n))
		n, err := k.ReadAt(got, c.from)
		must(t, err)
		var want []byte
		if c.from >= 0 && c.from < int64(len(image)) {
			want = image[c.from:min(c.from+c.n, int64(len(image)))]
		}
		if !bytes.Equal(got[:n], want) {
			t.Errorf("%d bytes at %d: %d read", c.n, c.from, n)
		}
	}
}

// TestKeptDamageIsFound cuts both files at every length and turns bits over everywhere in the list and in what was kept of the image. No
// reader takes any of it; what is not kept of the image is nobody's business.
func TestKeptDamageIsFound(t *testing.T) {
	t.Parallel()
	dir, image := madeSet(t)
	path := filepath.Join(dir, "list")
	good, err := os.ReadFile(path)
	must(t, err)
	whole := func() error {
		k, err := OpenKeptSet(dir)
		if err != nil {
			return err
		}
		return errors.Join(k.Verify(), k.Close())
	}
	must(t, whole())
	bad := func(what string, at int) {
		t.Helper()
		err := whole()
		if err == nil {
			t.Fatalf("%s at %d: it is taken for whole", what, at)
		}
		if KindOf(err) != KindInternal || !strings.Contains(err.Error(), filepath.Base(dir)) {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
	}
	for n := range len(good) {
		must(t, os.WriteFile(path, good[:n], 0o600))
		bad("cut", n)
		for _, bit := range []byte{1, 4, 32, 128} {
			b := bytes.Clone(good)
			b[n] ^= bit
			must(t, os.WriteFile(path, b, 0o600))
			bad("a bit", n)
		}
	}
	must(t, os.WriteFile(path, append(bytes.Clone(good), '\n'), 0o600))
	bad("longer", len(good))
	must(t, os.Remove(path))
	bad("no list", 0)
	must(t, os.WriteFile(path, good, 0o600))
	img := filepath.Join(dir, "image")
	for _, at := range []int{0, 1000, regionSize - 1, 3 * regionSize, 4*regionSize - 1} {
		b := bytes.Clone(image)
		b[at] ^= 16
		must(t, os.WriteFile(img, b, 0o600))
		bad("the image", at)
		k, err := OpenKeptSet(dir)
		must(t, err)
		if n, err := k.ReadAt(make([]byte, 10), max(int64(at)-5, 0)); KindOf(err) != KindInternal || !errors.Is(err, errChecksum) || n > 5 {
			t.Errorf("%d bytes at %d were read: %v", n, at, err)
		}
		must(t, k.Close())
	}
	for _, at := range []int{regionSize, 2 * regionSize, 5 * regionSize} {
		b := bytes.Clone(image)
		b[at] ^= 16
		must(t, os.WriteFile(img, b, 0o600))
		must(t, whole())
	}
	for _, n := range []int64{0, 4 * regionSize, int64(len(image)) - 1, int64(len(image)) + 1} {
		must(t, os.Truncate(img, n))
		bad("the image cut", int(n))
	}
	must(t, os.Remove(img))
	bad("no image", 0)
}

// A list whose checksum is right may still make no sense: it was written by somebody else.
func TestKeptListsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	dir, _ := madeSet(t)
	path := filepath.Join(dir, "list")
	good, err := os.ReadFile(path)
	must(t, err)
	for name, change := range map[string][2]string{
		"newer":           {"set 1\n", "set 2\n"},
		"no pair":         {"pair: pair0\n", ""},
		"a bad name":      {"volume: db\n", "volume: ../db\n"},
		"a bad number":    {"generation: 7\n", "generation: 07\n"},
		"twice":           {"site: tokyo\n", "site: tokyo\nsite: tokyo\n"},
		"no role":         {"role: P-VOL\n", "role: X-VOL\n"},
		"not ascending":   {"           65536            65536   zeroes\n", "           65535            65536   zeroes\n"},
		"behind the end":  {"          262144            65636   zeroes\n", "          262144            65637   zeroes\n"},
		"another total":   {"bytes:           262244\n", "bytes:           262245\n"},
		"no range at all": {"            65536   zeroes\n", "            65536   nought\n"},
		"too long":        {"               0            65536 deb8886b", "               0          1048577 deb8886b"},
	} {
		b := bytes.Replace(good[:len(good)-keptSumSize], []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(b, good[:len(good)-keptSumSize]) {
			t.Fatalf("%s changes nothing", name)
		}
		must(t, os.WriteFile(path, sumKept(b), 0o600))
		if _, err := OpenKeptSet(dir); KindOf(err) != KindInternal || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Lines of later versions are passed over.
	must(t, os.WriteFile(path, sumKept(bytes.Replace(good[:len(good)-keptSumSize], []byte("why: "), []byte("colour: red\nwhy: "), 1)), 0o600))
	k, err := OpenKeptSet(dir)
	must(t, err)
	must(t, k.Close())
}

// TestKeptLinksAreNotFollowed: whoever could put a link into the folder could have pairfs read, write or remove anything.
func TestKeptLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	d, _ := keptDuo(t)
	elsewhere, _ := madeSet(t)
	untouched := func() {
		t.Helper()
		k, err := OpenKeptSet(elsewhere)
		must(t, err)
		must(t, errors.Join(k.Verify(), k.Close()))
	}
	// A set that is a link.
	must(t, os.Symlink(elsewhere, d.a.keptPath("y")))
	_, err := d.a.site.OpenKept("y")
	refused(t, err, KindInvalid)
	says(t, err, "does not follow links")
	refused(t, d.a.site.DropKept(t.Context(), "y"), KindInvalid)
	if all, err := d.a.site.Kept(); err != nil || len(all) != 1 || !strings.Contains(all[0].Bad, "does not follow links") {
		t.Errorf("%+v, %v", all, err)
	}
	// Files in a set that are links: the drop removes the links.
	must(t, os.Mkdir(d.a.keptPath("z"), 0o700))
	for _, f := range []string{"list", "image"} {
		must(t, os.Symlink(filepath.Join(elsewhere, f), d.a.keptPath("z", f)))
	}
	_, err = d.a.site.OpenKept("z")
	refused(t, err, KindInvalid)
	must(t, d.a.site.DropKept(t.Context(), "z"))
	untouched()
	// What is left of a crash, and what is in the way of a new set.
	must(t, os.Symlink(filepath.Dir(elsewhere), d.a.keptPath(".new-x")))
	must(t, os.Mkdir(d.a.keptPath(".new-q"), 0o700))
	must(t, os.Symlink(filepath.Dir(elsewhere), d.a.keptPath(".new-q", "image")))
	d.a.reopen()
	untouched()
	if _, err := os.Lstat(d.a.keptPath(".new-q")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unfinished set is left: %v", err)
	}
	if !eventWith(d.a.site, "remove it by hand", ".new-x", "does not follow links") || eventWith(d.a.site, "nothing can be kept aside") {
		t.Error("the start does not say what it could not remove")
	}
	// A pipe does not hold anybody up.
	must(t, os.Mkdir(d.a.keptPath("p"), 0o700))
	must(t, unix.Mkfifo(d.a.keptPath("p", "list"), 0o600))
	_, err = d.a.site.OpenKept("p")
	refused(t, err, KindInvalid)
	// The folder itself.
	must(t, os.Rename(d.a.keptPath(), d.a.keptPath()+".away"))
	must(t, os.Symlink(filepath.Dir(elsewhere), d.a.keptPath()))
	_, err = d.a.keepMarked(t.Context(), "x")
	refused(t, err, KindInvalid)
	_, err = d.a.site.OpenKept(filepath.Base(elsewhere))
	refused(t, err, KindInvalid)
	refused(t, d.a.site.DropKept(t.Context(), filepath.Base(elsewhere)), KindInvalid)
	untouched()
	d.a.reopen()
	if !eventWith(d.a.site, "nothing can be kept aside", "does not follow links") {
		t.Error("the start does not say so")
	}
}

// TestCheckOfKeptSets: a check reads every set to its end, and names what is none.
func TestCheckOfKeptSets(t *testing.T) {
	t.Parallel()
	d, _ := keptDuo(t)
	var names []string
	for range 4 {
		sets, err := d.a.keepMarked(t.Context(), "x")
		must(t, err)
		names = append(names, sets[0].Name)
	}
	k, err := d.a.site.OpenKept(names[1])
	must(t, err)
	var at int64
	for i := range k.Info().Ranges { // some range with data
		if r, err := k.Range(i); err == nil && !r.Zero {
			at = r.Offset
		}
	}
	must(t, k.Close())
	d.a.close()
	flip := func(path string, at int64) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		must(t, err)
		b[0] ^= 1
		_, err = f.WriteAt(b, at)
		must(t, errors.Join(err, f.Close()))
	}
	flip(d.a.keptPath(names[1], "image"), at)
	flip(d.a.keptPath(names[2], "list"), 300)
	must(t, os.Remove(d.a.keptPath(names[3], "list")))
	must(t, os.Mkdir(d.a.keptPath("lost+found"), 0o700))
	must(t, os.Mkdir(d.a.keptPath(".old-gone"), 0o700))
	must(t, os.WriteFile(d.a.keptPath("a note"), nil, 0o600))
	said := d.a.findings()
	for object, want := range map[string]string{
		"kept/" + names[0]: "range",
		"kept/" + names[1]: "BAD kept set " + names[1] + " is damaged: checksum mismatch",
		"kept/" + names[2]: "BAD kept set " + names[2] + " is damaged: ",
		"kept/" + names[3]: "BAD kept set " + names[3] + " is damaged: ",
		"kept/.old-gone":   "was dropped, but not to its end",
		"kept/a note":      "is no kept set",
	} {
		if !strings.Contains(said[object], want) || strings.HasPrefix(said[object], "BAD") != strings.HasPrefix(want, "BAD") {
			t.Errorf("%s: %q, want %q", object, said[object], want)
		}
	}
	if said["kept/lost+found"] != "" {
		t.Error("lost+found is no business of a check")
	}
	// Without its site: what is damaged is listed with the reason, dropped by its name alone, and all or none.
	all, err := KeptSets(d.a.cfg.StateDir)
	must(t, err)
	if len(all) != 4 || all[3].Bad == "" || all[0].Bad != "" {
		t.Errorf("%+v", all)
	}
	dropped := func(older time.Duration, names ...string) (got []string, err error) {
		err = DropKeptSets(d.a.cfg.StateDir, names, older, func(name string, freed int64) {
			if freed <= 0 {
				t.Errorf("%d bytes of %s are free", freed, name)
			}
			got = append(got, name)
		})
		return got, err
	}
	got, err := dropped(0, names[0], "nothing")
	refused(t, err, KindNotFound)
	if len(got) != 0 {
		t.Errorf("%v was dropped", got)
	}
	makeOlder(t, d.a.keptPath(names[0]), time.Hour)
	if got, err = dropped(time.Minute); err != nil || !cmp.Equal(got, names[:1]) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = dropped(0, names[1], names[2], names[3]); err != nil || !cmp.Equal(got, names[1:]) {
		t.Errorf("%v, %v", got, err)
	}
	d.a.open()
	_, err = dropped(0, "nothing")
	refused(t, err, KindBusy)
	says(t, err, "is running")
	_, err = KeptSets(d.a.cfg.StateDir + "/none")
	refused(t, err, KindNotFound)
}

// FuzzKeptList holds that no list makes a reader fail in another way than with an error.
func FuzzKeptList(f *testing.F) {
	dir, _ := madeSet(f)
	b, err := os.ReadFile(filepath.Join(dir, "list"))
	must(f, err)
	f.Add(b, true)
	f.Add(b[:100], false)
	f.Fuzz(func(t *testing.T, list []byte, sum bool) {
		if sum && len(list) > keptSumSize { // most that is tried would end at the checksum
			list = sumKept(bytes.Clone(list[:len(list)-keptSumSize]))
		}
		must(t, os.WriteFile(filepath.Join(dir, "list"), list, 0o600))
		k, err := OpenKeptSet(dir)
		if err != nil {
			return
		}
		defer k.Close()
		_ = k.Verify()
		if n, err := k.ReadAt(make([]byte, 1<<20), 0); err == nil && int64(n) != min(k.Info().Size, 1<<20) {
			t.Errorf("%d bytes", n)
		}
	})
}
