package fs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// manyRanges is a difference of n ranges, in turn at the P-VOL, at the S-VOL and at both.
func manyRanges(n int64) *replica.Differences {
	const step = 128 << 10
	d := &replica.Differences{
		Pair: "pair0", Role: replica.Primary, Status: replica.PSUS, Peer: "osaka", PeerStatus: replica.PSUS,
		PVOL: 1, SVOL: 2, Both: 3, Overwritten: 5, Copied: 6,
	}
	d.Next = func(from int64) (replica.ChangedRange, bool) {
		i := (from + step - 1) / step
		return replica.ChangedRange{Where: replica.Changed(1 + i%3), Offset: i * step, Length: 64 << 10}, i < n
	}
	return d
}

// noDifferences is a pair of which nothing is listed.
func noDifferences() *replica.Differences {
	return &replica.Differences{
		Pair: "pair1", Role: replica.Secondary, Status: replica.PAIR, Peer: "tokyo", PVOL: -1, SVOL: -1, Both: -1, Overwritten: -1, Copied: -1,
		Note: "the pair is in PAIR:\nnothing differs", Next: func(int64) (replica.ChangedRange, bool) { return replica.ChangedRange{}, false },
	}
}

const listedText = `pair: pair0
role: P-VOL
status: PSUS
peer: osaka
peer-status: SSUS
p-vol-bytes: 1
s-vol-bytes: 2
both-bytes: 3
overwritten-bytes: 5
resync-bytes: 6
note: -
p-vol 0 65536
s-vol 131072 65536
both 262144 65536
p-vol 393216 65536
pair: pair1
role: S-VOL
status: PAIR
peer: tokyo
peer-status: -
p-vol-bytes: -
s-vol-bytes: -
both-bytes: -
overwritten-bytes: -
resync-bytes: -
note: the pair is in PAIR: nothing differs
`

// TestListing pins the text, in whatever pieces it is read, with ranges and without.
func TestListing(t *testing.T) {
	for _, piece := range []int{1, 7, 100, 4096} {
		for _, ranges := range []bool{true, false} {
			var places listings
			q := &question{ranges: ranges, ask: func(context.Context) ([]*replica.Differences, error) {
				return []*replica.Differences{manyRanges(4), noDifferences()}, nil
			}}
			l, err := places.answer(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for buf := make([]byte, piece); ; {
				n := l.read(buf)
				if n == 0 {
					break
				}
				got.Write(buf[:n])
			}
			var want strings.Builder
			for line := range strings.Lines(listedText) {
				if ranges || strings.Contains(line, ": ") {
					want.WriteString(line)
				}
			}
			if d := cmp.Diff(want.String(), got.String()); d != "" {
				t.Errorf("in pieces of %d, ranges %v:\n%s", piece, ranges, d)
			}
			l.close()
			l.close()
			if n := places.held.Load(); n != 0 || l.read(make([]byte, 10)) != 0 {
				t.Errorf("%d lists are held after the last was closed", n)
			}
		}
	}
}

// TestListingsAreBounded: one list too many is refused before the site is asked, and one that fails takes no place.
func TestListingsAreBounded(t *testing.T) {
	var places listings
	asked := 0
	q := &question{ask: func(context.Context) ([]*replica.Differences, error) {
		asked++
		return nil, nil
	}}
	no := kindError(replica.KindNotFound, "there is no such pair")
	for range 2 * maxListings {
		_, err := places.answer(context.Background(), &question{ask: func(context.Context) ([]*replica.Differences, error) { return nil, no }})
		if replica.KindOf(err) != replica.KindNotFound {
			t.Fatal(err)
		}
	}
	for range maxListings {
		list, err := places.answer(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		h := &ctlHandle{list: list}
		h.Release(context.Background()) // a closed file gives its place back
		if _, err := places.answer(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	asked -= maxListings
	if _, err := places.answer(context.Background(), q); replica.KindOf(err) != replica.KindBusy || asked != maxListings {
		t.Errorf("one list too many: %v, asked %d times", err, asked)
	}
}

// TestDifferencesThroughTheFile reads a list far longer than any buffer through the mount; places come back with the end of a list and with
// the close of its file.
func TestDifferencesThroughTheFile(t *testing.T) {
	c := serve(t)
	const ranges = 200_000
	c.do(order{Op: "differences", Off: ranges})
	if out, err := c.shell("echo 'create volume=db peer=osaka' > .ctl/pair0"); err != nil {
		t.Fatal(out, err)
	}
	f := c.open(c.path(".ctl/pair0"), os.O_RDWR)
	if _, err := f.WriteString("differences\n"); err != nil {
		t.Fatal(err)
	}
	lines, last := 0, ""
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		if last = in.Text(); lines == 0 && last != "ok" {
			t.Fatalf("the answer begins with %q", last)
		}
	}
	if want := fmt.Sprintf("s-vol %d 65536", int64(ranges-1)*128<<10); lines != 1+11+ranges || last != want {
		t.Errorf("%d lines, the last is %q, want %q", lines, last, want)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || !strings.Contains(string(text), "\nname: pair0\n") {
		t.Errorf("the state after the list: %.100q, %v", text, err)
	}
	open := func() *os.File { return c.open(c.path(".ctl/pair0"), os.O_RDWR) }
	held := make([]*os.File, maxListings)
	for i := range held {
		held[i] = open()
		if _, err := held[i].WriteString("differences"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.WriteString("differences ranges=no")
	wantErrno(t, "one list too many", err, unix.EBUSY)
	if text, _ := io.ReadAll(f); !strings.Contains(string(text), "are being read already") {
		t.Errorf("the refusal says %q", text)
	}
	// Another command on the same file gives its list up.
	if _, err := held[0].WriteString("suspend"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("differences ranges=no"); err != nil {
		t.Error(err)
	}
	if text, _ := io.ReadAll(f); strings.Count(string(text), "\n") != 1+11 {
		t.Errorf("the totals alone: %q", text)
	}
}
