package fs

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// fakeKeptSets are the sets of a site; the image of the first has data from fakeFrom to fakeTo.
var fakeKeptSets = []replica.Kept{
	{
		Name: "pair0-20260203T040506Z", Site: "tokyo", Pair: "pair0", Volume: "db", Peer: "osaka", Role: replica.Primary, Size: 10 << 20, Generation: 7, Seq: 12, SplitSeq: 9,
		Held: time.Unix(1e9, 5e6), Time: time.Unix(1.1e9, 0), Why: "resync with discard=here", Ranges: 2, Bytes: 3 << 20, DataBytes: fakeTo - fakeFrom, Allocated: 1<<20 + 4096, ListBytes: int64(len(fakeList)),
	},
	{Name: "pair1-20260203T040506Z", Bad: "kept set pair1-20260203T040506Z is damaged: its list was cut off", Allocated: 4096},
}

const (
	fakeFrom = 4 << 20
	fakeTo   = 5<<20 - 100
	fakeList = "pairfs kept set 1\nand so on\n"
)

// fakeKept is an open set of a fakeSite.
type fakeKept struct{ site *fakeSite }

func (k *fakeKept) image() []byte {
	b := make([]byte, fakeKeptSets[0].Size)
	for i := fakeFrom; i < fakeTo; i++ {
		b[i] = byte(i%251) + 1
	}
	return b
}

func (k *fakeKept) Info() replica.Kept { return fakeKeptSets[0] }

func (k *fakeKept) ReadAt(p []byte, off int64) (int, error) {
	k.site.mu.Lock()
	defer k.site.mu.Unlock()
	if k.site.keptErr != nil {
		return 0, k.site.keptErr
	}
	n, err := bytes.NewReader(k.image()).ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (k *fakeKept) ReadListAt(p []byte, off int64) (int, error) {
	return strings.NewReader(fakeList).ReadAt(p, off)
}

func (k *fakeKept) SeekData(off int64) (int64, bool, error) {
	return max(off, fakeFrom), off < fakeTo, nil
}

func (k *fakeKept) SeekHole(off int64) (int64, error) {
	if off < fakeFrom || off >= fakeTo {
		return off, nil
	}
	return fakeTo, nil
}

func (k *fakeKept) Close() error { return nil }

func (s *fakeSite) Kept() ([]replica.Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept, nil
}

func (s *fakeSite) KeptSet(name string) (replica.Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k.Name == name {
			return k, nil
		}
	}
	return replica.Kept{}, kindError(replica.KindNotFound, "there is no such set")
}

func (s *fakeSite) OpenKept(name string) (keptSet, error) {
	k, err := s.KeptSet(name)
	if err == nil && k.Bad != "" {
		err = kindError(replica.KindInternal, k.Bad)
	}
	if err != nil {
		return nil, err
	}
	return &fakeKept{s}, nil
}

// DropKept remarks that it did.
func (s *fakeSite) DropKept(ctx context.Context, name string) error {
	replica.Remark(ctx, name+" dropped")
	return s.call("DropKept %s", name)
}

func (s *fakeSite) DropKeptOlder(_ context.Context, age string) error {
	return s.call("DropKeptOlder %s", age)
}

// TestKeptLines pins the text of .ctl/kept.
func TestKeptLines(t *testing.T) {
	want := `pair0-20260203T040506Z pair=pair0 volume=db peer=osaka site=tokyo role=P-VOL size-bytes=10485760 generation=7 sequence=12 split-sequence=9 held=2001-09-09T01:46:40.005Z kept=2004-11-09T11:33:20.000Z ranges=2 range-bytes=3145728 data-bytes=1048476 allocated-bytes=1052672 why="resync with discard=here" bad=-
pair1-20260203T040506Z pair=- volume=- peer=- site=- role=- size-bytes=0 generation=0 sequence=0 split-sequence=0 held=- kept=- ranges=0 range-bytes=0 data-bytes=0 allocated-bytes=4096 why=- bad="kept set pair1-20260203T040506Z is damaged: its list was cut off"
`
	if diff := cmp.Diff(want, KeptLines(fakeKeptSets)); diff != "" {
		t.Error(diff)
	}
}

// TestKeptFiles reads kept sets through a mount, as a shell does: the list of them, image and list of one, sparse; nothing can be changed, and
// what is damaged is EIO and an event.
func TestKeptFiles(t *testing.T) {
	c := serve(t)
	if got := c.names(".ctl/kept.d"); len(got) != 0 {
		t.Errorf("sets: %q", got)
	}
	c.do(order{Op: "kept"})
	set := ".ctl/kept.d/" + fakeKeptSets[0].Name
	if got := c.names(".ctl/kept.d"); !cmp.Equal(got, []string{fakeKeptSets[0].Name, fakeKeptSets[1].Name}) {
		t.Errorf("sets: %q", got)
	}
	if got := c.names(set); !cmp.Equal(got, []string{"image", "list"}) {
		t.Errorf("files: %q", got)
	}
	if out, err := c.shell("cat .ctl/kept " + set + "/list"); err != nil || out+"\n" != KeptLines(fakeKeptSets)+fakeList {
		t.Errorf("%q, %v", out, err)
	}
	st, err := os.Stat(c.path(set, "image"))
	if err != nil || st.Size() != fakeKeptSets[0].Size || st.Mode() != 0o400 || !st.ModTime().Equal(fakeKeptSets[0].Time) {
		t.Fatalf("%+v, %v", st, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if out, err := c.shell("cp --sparse=auto " + set + "/image " + copied); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	got, err := os.ReadFile(copied)
	if err != nil || !bytes.Equal(got, (&fakeKept{}).image()) {
		t.Errorf("the copy of the image differs: %v", err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(copied, &stat); err != nil || stat.Blocks*512 > 2<<20 {
		t.Errorf("the copy takes %d bytes", stat.Blocks*512)
	}
	_, err = os.OpenFile(c.path(set, "image"), os.O_RDWR, 0)
	wantErrno(t, "open for writing", err, unix.EPERM)
	wantErrno(t, "truncate", os.Truncate(c.path(set, "image"), 0), unix.EPERM)
	wantErrno(t, "chmod", os.Chmod(c.path(set, "list"), 0o600), unix.EPERM)
	wantErrno(t, "rm", os.Remove(c.path(set, "list")), unix.EPERM)
	wantErrno(t, "rmdir", unix.Rmdir(c.path(set)), unix.EPERM)
	wantErrno(t, "mkdir", os.Mkdir(c.path(".ctl/kept.d/x"), 0o700), unix.EPERM)
	wantErrno(t, "mv", os.Rename(c.path(set), c.path(".ctl/kept.d/x")), unix.EPERM)
	wantErrno(t, "create", os.WriteFile(c.path(set, "x"), nil, 0o600), unix.EPERM)
	_, err = os.ReadFile(c.path(".ctl/kept.d/nothing/list"))
	wantErrno(t, "no such set", err, unix.ENOENT)

	_, err = os.ReadFile(c.path(".ctl/kept.d", fakeKeptSets[1].Name, "list"))
	wantErrno(t, "a damaged list", err, unix.EIO)
	f := c.open(c.path(set, "image"), os.O_RDONLY)
	c.do(order{Op: "kept-bad", Text: "the image is damaged"})
	for range 2 {
		_, err = f.ReadAt(make([]byte, 10), 0)
		wantErrno(t, "a damaged image", err, unix.EIO)
	}
	events := c.open(c.path(".ctl/events"), os.O_RDONLY|unix.O_NONBLOCK)
	for _, want := range []string{"kept set pair1-20260203T040506Z is damaged: its list was cut off", "the image is damaged"} { // each once
		line := make([]byte, 200)
		n, err := unix.Read(int(events.Fd()), line)
		if err != nil || !strings.HasSuffix(string(line[:max(n, 0)]), " ERROR kept: "+want+"\n") {
			t.Errorf("event %q, %v", line[:max(n, 0)], err)
		}
	}
	_, err = unix.Read(int(events.Fd()), make([]byte, 10))
	wantErrno(t, "no more events", err, unix.EAGAIN)
}

// TestKeptCommand drops by the control file: the answer says what became of it, and the audit log has it.
func TestKeptCommand(t *testing.T) {
	c := serve(t)
	f := c.open(c.path(".ctl/kept"), os.O_RDWR)
	if _, err := f.WriteString("drop name=a-1\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "ok: a-1 dropped\n" {
		t.Errorf("%q, %v", got, err)
	}
	c.do(order{Op: "refuse", On: true, Kind: replica.KindNotFound, Text: "there is no such set"})
	_, err := f.WriteString("drop name=a-2\n")
	wantErrno(t, "drop", err, unix.ENOENT)
	audit := c.do(order{Op: "audit"}).Audit
	if len(audit) != 2 || audit[0].Object != "kept" || audit[0].What != "drop name=a-1" || audit[0].Result != "ok" || audit[1].Result != "ENOENT" {
		t.Errorf("%+v", audit)
	}
	for range 2 * maxKeptOpen { // a close gives the place back
		c.do(order{Op: "kept"})
		k, err := os.Open(c.path(".ctl/kept.d", fakeKeptSets[0].Name, "list"))
		if err != nil {
			t.Fatal(err)
		}
		k.Close()
	}
	for range maxKeptOpen {
		c.open(c.path(".ctl/kept.d", fakeKeptSets[0].Name, "list"), os.O_RDONLY)
	}
	_, err = os.Open(c.path(".ctl/kept.d", fakeKeptSets[0].Name, "list"))
	wantErrno(t, "one file too many", err, unix.EBUSY)
}
