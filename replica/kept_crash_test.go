package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// keptChild is what a child does that keeps regions, or drops a set, and is killed before one of the steps.
type keptChild struct {
	KillAt int    // number of the step, from 1
	Drop   string // name of the set to drop; "" keeps what is marked of pair x
}

// run does so in the child. It ends in good order only if there are fewer steps.
func (k *keptChild) run(c childConfig) error {
	steps := 0
	s, err := Open(context.Background(), Config{
		StateDir: c.StateDir, Name: c.Name, Listen: c.Listen, RingDir: c.RingDir, Memory: c.Memory, PathWatch: c.PathWatch,
		keptStep: func(string) error {
			if steps++; steps == k.KillAt {
				return errors.Join(unix.Kill(os.Getpid(), unix.SIGKILL), errors.New("it goes on"))
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	if k.Drop != "" {
		err = s.DropKept(context.Background(), k.Drop)
	} else {
		p := s.pairByName("x")
		p.group.cmd.Lock()
		letGo := p.group.holdHosts([]*pair{p})
		_, err = s.keepAside(context.Background(), []lost{{p, p.att.bits.snapshot()}}, keepOptions{why: "a test"})
		letGo()
		p.group.cmd.Unlock()
	}
	return errors.Join(err, s.Close(context.Background()))
}

// runKept runs a child and reports whether it was killed.
func (n *node) runKept(k keptChild) (killed bool) {
	n.t.Helper()
	text, err := json.Marshal(childConfig{
		StateDir: n.cfg.StateDir, Name: n.cfg.Name, Listen: n.cfg.Listen, RingDir: n.cfg.RingDir, Memory: n.cfg.Memory, PathWatch: n.cfg.PathWatch, Kept: &k,
	})
	must(n.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == -1 {
		return true
	}
	if err != nil {
		n.t.Fatalf("the child: %v\n%s", err, out)
	}
	return false
}

// TestKeptKilledAtEveryStep kills the daemon before each step of keeping and dropping. The next start has the set whole or not at all; what
// is not whole is gone, told, and seen by a check before.
func TestKeptKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	d, _ := keptDuo(t)
	p := d.a.site.pairByName("x")
	set, image := p.att.bits.snapshot(), readAll(t, d.a.vol("x"))
	d.a.close()
	unfinished, whole := 0, 0
	for at := 1; ; at++ {
		killed := d.a.runKept(keptChild{KillAt: at})
		begun := 0
		for object, text := range d.a.findings() {
			if len(text) > 3 && text[:3] == "BAD" {
				t.Fatalf("step %d: %s: %s", at, object, text)
			}
			if text == "was not written to its end, and nothing was overwritten then: it goes at the next start" {
				begun++
			}
		}
		d.a.open()
		if told := eventWith(d.a.site, "the unfinished kept set x-"); told != (begun > 0) {
			t.Errorf("step %d: %d unfinished, told: %v", at, begun, told)
		}
		unfinished += begun
		all, err := d.a.site.Kept()
		must(t, err)
		for _, info := range all {
			whole++
			k, err := d.a.site.OpenKept(info.Name)
			must(t, err)
			wantKept(t, k, set, image)
			must(t, k.Close())
			must(t, d.a.site.DropKept(t.Context(), info.Name))
		}
		if !killed && len(all) != 1 || len(all) > 1 {
			t.Fatalf("step %d, killed %v: %d sets", at, killed, len(all))
		}
		d.a.wantNoSets()
		d.a.close()
		if !killed {
			break
		}
	}
	if unfinished < 5 || whole != 2 { // one killed before the last flush, one that was not killed
		t.Errorf("%d unfinished sets and %d whole ones were met", unfinished, whole)
	}
	d.a.open()
}

// TestDropKilledAtEveryStep: see there.
func TestDropKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	d, _ := keptDuo(t)
	for at := 1; ; at++ {
		sets, err := d.a.keepMarked(t.Context(), "x")
		must(t, err)
		d.a.close()
		killed := d.a.runKept(keptChild{KillAt: at, Drop: sets[0].Name})
		d.a.open()
		all, err := d.a.site.Kept()
		must(t, err)
		if want := map[bool]int{true: 1}[at == 1]; len(all) != want || want == 1 && all[0].Bad != "" {
			t.Fatalf("step %d: %+v", at, all)
		}
		for _, k := range all {
			must(t, d.a.site.DropKept(t.Context(), k.Name))
		}
		d.a.wantNoSets()
		if !killed {
			if at != 4 {
				t.Errorf("%d steps", at-1)
			}
			return
		}
	}
}

// TestKeptNoRoom keeps on a small file system of its own: what does not fit is refused with what is needed, before anything is written and in
// the middle, and fits when there is room.
func TestKeptNoRoom(t *testing.T) {
	t.Parallel()
	fill := func(string) error { return nil }
	d, _ := keptDuo(t, func(name string, c *Config) { c.keptStep = func(step string) error { return fill(step) } })
	mountTmpfs := func(size string) {
		t.Helper()
		if err := unix.Mount("tmpfs", d.a.keptPath(), "tmpfs", 0, "mode=0700,size="+size); err != nil {
			t.Skipf("no tmpfs can be mounted: %v", err)
		}
	}
	mountTmpfs("1m")
	t.Cleanup(func() { _ = unix.Unmount(d.a.keptPath(), unix.MNT_DETACH) })
	_, err := d.a.keepRegions(t.Context(), keepOptions{}, wholeSet(duoSize), "x")
	refused(t, err, KindNoSpace)
	says(t, err, "must be kept aside first", "has 1.0 MiB free, of which 64 KiB stay free", "pairfs kept drop", "mount a larger file system at "+d.a.keptPath())
	d.a.wantNoSets()

	must(t, unix.Unmount(d.a.keptPath(), 0))
	mountTmpfs("16m")
	ballast := d.a.keptPath(".ballast")
	for _, at := range []string{"write", "sync image"} { // the file system is filled up by somebody else meanwhile
		fill = func(step string) error {
			if step == at {
				b := make([]byte, 1<<20)
				f, err := os.Create(ballast)
				for err == nil {
					_, err = f.Write(b)
				}
				return f.Close()
			}
			return nil
		}
		_, err = d.a.keepRegions(t.Context(), keepOptions{}, wholeSet(duoSize), "x")
		if at == "sync image" {
			must(t, err) // it had its room already
			must(t, d.a.site.DropKept(t.Context(), d.a.onlySet()))
		} else {
			refused(t, err, KindNoSpace)
		}
		must(t, os.Remove(ballast))
		d.a.wantNoSets()
	}
	fill = func(string) error { return nil }
	_, err = d.a.keepRegions(t.Context(), keepOptions{}, wholeSet(duoSize), "x")
	must(t, err)
	must(t, os.Chmod(d.a.keptPath(), 0o755)) // as the root of a new file system may be
	_, err = d.a.keepRegions(t.Context(), keepOptions{}, wholeSet(duoSize), "x")
	refused(t, err, KindInvalid)
	says(t, err, fmt.Sprintf("chmod 700 %s", d.a.keptPath()))
	must(t, d.a.site.DropKept(t.Context(), d.a.onlySet()))
	d.a.reopen()
	if !eventWith(d.a.site, "nothing can be kept aside", "chmod 700") {
		t.Error("the start does not say that nothing can be kept")
	}
}

// onlySet is the name of the only kept set.
func (n *node) onlySet() string {
	n.t.Helper()
	all, err := n.site.Kept()
	must(n.t, err)
	if len(all) != 1 {
		n.t.Fatalf("there are %+v", all)
	}
	return all[0].Name
}
