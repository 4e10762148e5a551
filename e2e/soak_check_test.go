package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e/prefix"
)

// tries are the commands of a soak that nobody waits for, and what became of them.
type tries struct {
	mu      sync.Mutex
	open    int
	refused map[string]int // by errno
}

// ended reports whether no command is under way.
func (t *tries) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open == 0
}

func (t *tries) counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.refused)
}

// begin runs commands one after the other in a goroutine of its own.
func (t *tries) begin(s *soak, h *host, lines [][2]string) (done <-chan struct{}) {
	t.mu.Lock()
	t.open++
	t.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, l := range lines {
			t.took(s, h, h.Ctl(l[0], l[1]))
		}
		t.mu.Lock()
		t.open--
		t.mu.Unlock()
	}()
	return ended
}

// took notes how a command ended.
func (t *tries) took(s *soak, h *host, err error) {
	var errno unix.Errno
	if err == nil {
		return
	}
	var refused *CtlError
	if errors.As(err, &refused) {
		errno = refused.Errno
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused == nil {
		t.refused = map[string]int{}
	}
	t.refused[unix.ErrnoName(errno)]++
	for _, e := range refusable {
		if errno == e {
			return
		}
	}
	s.t.Logf("site %s: an odd refusal: %v", h.Name, err)
}

// try runs a command at a site, which may be paused or dying.
func (f *flow) try(h *host, command string, files ...string) {
	var lines [][2]string
	for _, file := range files {
		lines = append(lines, [2]string{file, command})
	}
	f.s.note(command, h.Name+" "+fmt.Sprint(files))
	done := f.s.tries.begin(f.s, h, lines)
	if f.s.chance(2) {
		eventually(time.Second, func() bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
	}
}

// command asks for something that changes the states of the pairs.
func (f *flow) command() {
	if f.turning {
		return // what a command means depends on the roles
	}
	h, group := f.from, f.masterGroup()
	if f.s.chance(3) {
		h, group = f.to, f.restoreGroup()
	}
	var pairs []string
	for _, v := range f.volumes {
		pairs = append(pairs, pairName(v))
	}
	if !h.Running() {
		return
	}
	switch dice := f.s.rng.IntN(20); {
	case dice < 4:
		f.try(h, "suspend", group)
	case dice < 8:
		f.try(h, "suspend mode=purge", group)
	case dice < 9:
		f.apart = true
		f.try(h, "suspend", pairs[f.s.rng.IntN(len(pairs))])
	case dice < 15:
		f.inStep = false
		f.try(h, "resync", group)
	case dice < 17:
		f.trespass(h, group)
	case dice < 18:
		f.apart = true
		f.try(h, "delete", pairs...)
	case dice < 19:
		f.apart = true
		f.try(h, "delete mode=force", pairs...)
	default:
		f.inStep = false
		for _, v := range f.volumes {
			f.try(f.from, fmt.Sprintf("create volume=%s peer=%s group=%s", v, f.to.Name, f.group), pairName(v))
		}
	}
}

// look checks that the S-VOLs are one prefix, or each one for itself where pairs were split one by one. Nothing arrives, for the link is
// cut; what was on its way is waited for by looking again.
func (f *flow) look() {
	f.s.t.Helper()
	if f.foreign || f.turning {
		return
	}
	var err error
	again := 0
	ok := eventually(StatusLimit, func() bool {
		before, e := f.to.Text(f.restoreGroup())
		if e != nil {
			return true // no pair is left there
		}
		err = f.prefix()
		after, _ := f.to.Text(f.restoreGroup())
		if parseState(before)["appended"] != parseState(after)["appended"] {
			return false
		}
		again++
		return err == nil || again > 3
	})
	if !ok || err != nil {
		f.s.t.Fatalf("group %s at its secondary %s: %v", f.group, f.to.Name, err)
	}
}

// prefix checks the S-VOLs that are the image of a moment.
func (f *flow) prefix() error {
	var images []Target
	for i, t := range f.to.Targets(f.size, f.volumes...) {
		text, err := f.to.Text(pairName(f.volumes[i]))
		if os.IsNotExist(err) {
			continue
		}
		p := parseState(text)
		image := p["status"] == "PAIR" || split(p["status"]) && p["consistent"] == "yes"
		if !image && f.inStep {
			return fmt.Errorf("pair %s is %s (%s, consistent: %s) though it was in PAIR and no copy was asked for", p["name"], p["status"], p["suspend-type"], p["consistent"])
		}
		if image {
			images = append(images, t)
		}
	}
	if f.inStep && !f.apart && len(images) == len(f.volumes) {
		p, err := CheckFiles(f.main.h, images, 0)
		if err == nil && p.Cut < f.cut {
			err = fmt.Errorf("the image went back from %d to %d", f.cut, p.Cut)
		}
		f.cut = max(f.cut, p.Cut)
		f.s.did("checks of a prefix", 1)
		return err
	}
	for _, t := range images {
		if _, err := CheckFiles(f.main.h, []Target{t}, 0); err != nil {
			return err
		}
		f.s.did("checks of a single prefix", 1)
	}
	return nil
}

// close ends a cycle for the group: most often in PAIR, with equal volumes.
func (f *flow) close() {
	f.s.t.Helper()
	found := f.agree()
	if found == parted && f.s.chance(3) {
		f.trespass(f.to, f.restoreGroup())
	}
	if f.s.chance(4) {
		f.halt()
		f.main.check()
		return
	}
	if found == parted && f.s.chance(2) {
		f.resync()
	}
	f.compare()
}

// drain waits until the peer has everything, in PAIR. A journal that was full when hosts ended may split the pairs a moment later.
func (f *flow) drain() {
	f.s.t.Helper()
	for range 10 {
		f.settle()
		parted := false
		Until(f.s.t, StatusLimit, "the pairs of "+f.group+" have no lag", func() bool {
			parted = !f.all("PAIR", "PFUL")
			return parted || f.all("PAIR") && f.drained()
		})
		if !parted {
			return
		}
	}
	f.s.t.Fatalf("the pairs of group %s do not stay in PAIR though hosts have ended", f.group)
}

// drained reports whether nothing of the group is on its way.
func (f *flow) drained() bool {
	for _, v := range f.volumes {
		if f.from.Get(pairName(v))["lag-records"] != "0" {
			return false
		}
	}
	return f.from.Get(f.masterGroup())["lag-records"] == "0"
}

// compare waits until everything written is at the peer, and compares the volumes with the history and with each other.
func (f *flow) compare() {
	f.s.t.Helper()
	f.halt()
	f.drain()
	f.main.check()
	if _, err := CheckFiles(f.main.h, f.to.Targets(f.size, f.volumes...), Always); err != nil {
		f.s.t.Fatalf("group %s at its secondary %s, drained: %v", f.group, f.to.Name, err)
	}
	for _, v := range f.volumes {
		if err := SameFile(f.from.Path(v), f.to.Path(v)); err != nil {
			f.s.t.Fatalf("group %s: %v", f.group, err)
		}
	}
	f.s.did("comparisons", 1)
}

// trespass splits the group so that hosts may write the S-VOLs, and writes there while its site may die: what was acknowledged has to be
// there, over what the S-VOLs held before.
func (f *flow) trespass(h *host, group string) {
	f.s.t.Helper()
	if !f.to.up() || !h.up() || !f.s.tries.ended() {
		return
	}
	f.try(h, "suspend svol-write=enable", group)
	if !eventually(2*time.Second, f.open) {
		return
	}
	f.foreign = true
	var under [][]byte
	targets := f.to.Targets(f.size, f.volumes...)
	for _, t := range targets {
		b, err := readAll(t.Path)
		if err != nil {
			f.s.t.Fatalf("%v", err)
		}
		under = append(under, b)
	}
	other := NewHistory(f.s.newRun())
	w := StartWorkload(f.s.t, other, targets, Load{Seed: other.Run(), NoDiscard: true, Burst: 200, MaxSize: 65536})
	kill := f.s.chance(2)
	if kill {
		eventually(time.Second, func() bool { return w.Acked() > 60 })
		f.s.kill(f.to)
	}
	if err := w.Wait(); err != nil && !(kill && DeadMount(err)) && !(isErrno(err, "EROFS") && !f.open()) {
		f.s.t.Fatalf("group %s: a write to an S-VOL that may be written: %v", f.group, err)
	}
	f.s.raise(f.to)
	f.s.did("writes to S-VOLs", int(w.Acked()))
	if !f.open() {
		return // a resync that was under way has begun
	}
	var images []Image
	for i, t := range targets {
		img, file, err := OpenImage(t.Path, t.Volume)
		if err != nil {
			f.s.t.Fatalf("%v", err)
		}
		defer file.Close()
		img.Data = &over{under: under[i], top: img.Data}
		images = append(images, img)
	}
	pictures, err := prefix.Read(images...)
	if err == nil {
		_, err = other.Check(pictures, prefix.Acknowledged)
	}
	if err != nil && f.open() {
		f.s.t.Fatalf("group %s: what hosts wrote to the S-VOLs at %s: %v", f.group, f.to.Name, err)
	}
	f.s.did("checks of written S-VOLs", 1)
}

// open reports whether hosts may write every S-VOL.
func (f *flow) open() bool {
	for _, v := range f.volumes {
		text, err := f.to.Text(pairName(v))
		if err != nil || parseState(text)["svol-write"] != "yes" {
			return false
		}
	}
	return true
}

// over shows of an image only what differs from what was under it.
type over struct {
	under []byte
	top   io.ReaderAt
}

// ReadAt reads zeroes where a sector is what it was.
func (o *over) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.top.ReadAt(p, off)
	for i := 0; i+Sector <= n; i += Sector {
		if at := off + int64(i); bytes.Equal(p[i:i+Sector], o.under[at:at+Sector]) {
			clear(p[i : i+Sector])
		}
	}
	return n, err
}

// readAll reads a volume past the page cache.
func readAll(path string) ([]byte, error) {
	img, file, err := OpenImage(path, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := AlignedBuffer(int(img.Size))
	return b, readFull(file, b, 0)
}
