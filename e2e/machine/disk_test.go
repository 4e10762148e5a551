package machine

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// newDisk makes a disk of so many sectors of 'b'.
func newDisk(t *testing.T, sectors int) *Disk {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(base, bytes.Repeat([]byte{'b'}, sectors*SectorSize), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := NewDisk(t.TempDir(), base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// put writes n sectors of c, and is answered if answered is set.
func put(t *testing.T, d *Disk, sector, n int, c byte, answered bool) {
	t.Helper()
	begun, _ := d.begin()
	i, err := d.write(bytes.Repeat([]byte{c}, n*SectorSize), int64(sector*SectorSize), begun)
	if err != nil {
		t.Fatal(err)
	}
	if answered && !d.wrote(i) {
		t.Fatal("a write was not answered though there is power")
	}
}

// flushed flushes and is answered.
func flushed(t *testing.T, d *Disk) {
	t.Helper()
	if begun, _ := d.begin(); !d.flush(begun) {
		t.Fatal("a flush was not answered though there is power")
	}
}

// memory is an image in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// picture is the first byte of each sector of an image at a moment, and what was lost; each sector must be of one piece.
func picture(t *testing.T, d *Disk, at Moment, seed uint64) (string, Loss) {
	t.Helper()
	b, err := os.ReadFile(d.base)
	if err != nil {
		t.Fatal(err)
	}
	loss, err := d.replay(memory(b), at, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := 0; i < len(b); i += SectorSize {
		if !bytes.Equal(b[i:i+SectorSize], bytes.Repeat(b[i:i+1], SectorSize)) {
			t.Fatalf("seed %d: sector %d is torn", seed, i/SectorSize)
		}
		out = append(out, b[i])
	}
	return string(out), loss
}

// pictures are all that come of many seeds.
func pictures(t *testing.T, d *Disk, at Moment) map[string]Loss {
	t.Helper()
	all := map[string]Loss{}
	for seed := range uint64(300) {
		s, loss := picture(t, d, at, seed)
		all[s] = loss
	}
	return all
}

// TestImages cuts the power behind each step of a history made by hand, and looks at what may be there then.
func TestImages(t *testing.T) {
	d := newDisk(t, 4)
	first := d.Now()
	put(t, d, 0, 2, '1', true)
	unflushed := d.Now()
	late, _ := d.begin() // a flush comes, and is answered only at the end
	put(t, d, 2, 1, '2', false)
	flushed(t, d)
	put(t, d, 1, 1, '3', true)
	inFlight := d.Now()
	if !d.flush(late) {
		t.Fatal("a flush was not answered though there is power")
	}
	useless := d.Now()
	flushed(t, d)
	covered := d.Now()
	for _, c := range []struct {
		name string
		at   Moment
		want string // pictures, in words: every one of these and no other
	}{
		{"nothing was written", first, "bbbb"},
		{"a write is answered and not flushed", unflushed, "bbbb 1bbb b1bb 11bb"},
		{"flushed while another write was in flight, and one came behind", inFlight, "11bb 112b 13bb 132b"},
		{"a flush that came before the last write is answered behind it", useless, "11bb 112b 13bb 132b"},
		{"what is flushed stays, what was never answered may not", covered, "13bb 132b"},
	} {
		want := map[string]bool{}
		for s := range bytes.FieldsSeq([]byte(c.want)) {
			want[string(s)] = true
		}
		got := pictures(t, d, c.at)
		for s := range got {
			if !want[s] {
				t.Errorf("%s: the disk holds %s", c.name, s)
			}
			delete(want, s)
		}
		for s := range want {
			t.Errorf("%s: no seed of 300 leaves %s", c.name, s)
		}
	}
	if _, loss := picture(t, d, covered, 1); loss.Flushed != 2 || loss.Kept+loss.Lost != 1 {
		t.Errorf("two writes are flushed and one is not, and the loss is told as: %v", loss)
	}
	a, _ := picture(t, d, inFlight, 7)
	b, _ := picture(t, d, inFlight, 7)
	if a != b {
		t.Errorf("one seed gave %s and %s", a, b)
	}
}

// TestOff has nothing answered behind a power cut, and what came before it maybe there.
func TestOff(t *testing.T) {
	d := newDisk(t, 1)
	begun, _ := d.begin()
	i, err := d.write(bytes.Repeat([]byte{'1'}, SectorSize), 0, begun)
	if err != nil {
		t.Fatal(err)
	}
	flush, _ := d.begin()
	at := d.Off()
	if d.wrote(i) || d.flush(flush) {
		t.Error("the disk answered without power")
	}
	if _, powered := d.begin(); powered {
		t.Error("the disk took a request without power")
	}
	if got := pictures(t, d, at); len(got) != 2 {
		t.Errorf("a write that was under way leaves %v, want it there or not there", got)
	}
}

// TestOffAtFlush has the power go while a flush is under way at which enough is in the cache, and not before.
func TestOffAtFlush(t *testing.T) {
	d := newDisk(t, 2)
	gone := d.OffAtFlush(2)
	put(t, d, 0, 1, '0', true)
	flushed(t, d)
	put(t, d, 0, 1, '1', true)
	put(t, d, 1, 1, '2', true)
	begun, powered := d.begin()
	if !powered || d.flush(begun) {
		t.Fatal("the power went too early, or the flush was answered")
	}
	<-gone
	if got := pictures(t, d, d.Off()); len(got) != 4 {
		t.Errorf("two writes whose flush was under way leave %v, want each there or not there", got)
	}
}

// TestFullest finds the moment at which most was in the cache.
func TestFullest(t *testing.T) {
	d := newDisk(t, 2)
	put(t, d, 0, 1, '0', true)
	put(t, d, 1, 1, '0', true)
	flushed(t, d)
	from := d.Now()
	put(t, d, 0, 1, '1', true)
	flushed(t, d)
	put(t, d, 0, 1, '2', true)
	put(t, d, 1, 1, '3', true)
	flushed(t, d)
	put(t, d, 0, 1, '4', true)
	flushed(t, d)
	if got := pictures(t, d, d.Fullest(from)); len(got) != 4 || got["23"] == (Loss{}) {
		t.Errorf("at its fullest the cache leaves %v, want two writes there or not there", got)
	}
	if got := pictures(t, d, d.Fullest(0)); len(got) != 4 || got["bb"] == (Loss{}) {
		t.Errorf("at its fullest the cache leaves %v, want the first two writes there or not there", got)
	}
	if end := d.Now(); d.Fullest(end) != end {
		t.Error("a flush that never came was found")
	}
}
