package e2e

import (
	"os"
	"os/exec"
	"reflect"
	"time"

	"pairfs/e2e/machine"
	"pairfs/e2e/prefix"
)

// lose makes an image of what the disk of a machine holds after its power went at a moment, and checks the file system on it.
func (p *power) lose(m *running, at machine.Moment, image string) {
	p.t.Helper()
	loss, err := m.Disk.Image(image, at, p.rng)
	if err != nil {
		p.t.Fatalf("make an image of the disk: %v", err)
	}
	p.t.Logf("power cut: %v", loss)
	p.lost.Flushed += loss.Flushed
	p.lost.Kept += loss.Kept
	p.lost.Torn += loss.Torn
	p.lost.Lost += loss.Lost
	p.did("images", 1)
	p.fsck(image)
}

// fsck replays the journal of ext4 in a copy of the image, as a mount does, and then wants no error found.
func (p *power) fsck(image string) {
	p.t.Helper()
	copied := image + ".fsck"
	defer os.Remove(copied)
	Run(p.t, "cp", "--sparse=always", image, copied)
	if out, err := exec.Command("e2fsck", "-p", "-E", "journal_only", copied).CombinedOutput(); err != nil {
		p.t.Fatalf("replay the journal of ext4 behind a power cut: %v\n%s", err, out)
	}
	Run(p.t, "e2fsck", "-f", "-n", copied)
	p.did("file systems checked", 1)
}

// look starts the machine from an image of an earlier moment, without the secondary, which is ahead of it there, and checks the primary.
func (p *power) look(m *running, s sight) {
	p.t.Helper()
	image := p.tokyo.image()
	p.lose(m, s.at, image)
	p.tokyo.boot(image, true)
	p.tokyo.start()
	p.checkPrimary(s.must)
	p.tokyo.machine.Cut()
	p.tokyo.machine.forget()
}

// checkPrimary checks that the volumes of the machine are one prefix of what was written, with all that must demands.
func (p *power) checkPrimary(must prefix.Demand) Prefix {
	p.t.Helper()
	found, err := checkFiles(p.h, p.tokyo.targets(), must)
	if err != nil {
		p.t.Fatalf("site tokyo behind a power cut: the volumes are not the image of one prefix: %v", err)
	}
	p.t.Logf("site tokyo: prefix of %d writes, %d acknowledged ones after it", found.Writes, found.Last)
	p.did("checks of the primary", 1)
	p.did("acknowledged writes lost", found.Last)
	return found
}

// secondary looks at the S-VOLs while the primary has no power, and then may kill or cut the secondary too. What it returns is the moment
// before which every acknowledged write has arrived there: the primary must have those.
func (p *power) secondary() Stamp {
	p.t.Helper()
	p.osaka.AwaitStill("g@tokyo")
	images := p.osaka.Targets(powerSize, three...)
	found := p.osaka.CheckImages(p.h, images, 0)
	switch p.rng.IntN(4) {
	case 0:
		p.osaka.Kill9()
	case 1:
		p.osaka.PowerCut()
	default:
		return found.Cut
	}
	p.osaka.Restart()
	if again := p.osaka.CheckImages(p.h, images, found.Cut); !reflect.DeepEqual(again, found) {
		p.t.Fatalf("the S-VOLs were the prefix %+v, and are %+v after a restart", found, again)
	}
	p.did("restarts of the secondary", 1)
	return found.Cut
}

// cutAgain cuts the power while the primary is being started, and returns the image that is left.
func (p *power) cutAgain(image string) string {
	p.t.Helper()
	p.tokyo.boot(image, false)
	started := make(chan struct{})
	cut := p.tokyo.machine
	go func() {
		defer close(started)
		cut.Run(p.tokyo.mountCommand()...) // ends when it is done or the power is gone
	}()
	// A random instant is what a power cut comes at. Nothing is concluded from it.
	<-time.After(time.Duration(p.rng.Int64N(int64(4 * time.Second))))
	at := cut.CutAtFlush(1, 5*time.Second)
	<-started
	again := p.tokyo.image()
	p.lose(cut, at, again)
	cut.forget()
	p.did("cuts of a start", 1)
	return again
}

// settle checks the primary, which was started again, and lets the pair go on until both sides are equal.
func (p *power) settle(must prefix.Demand) {
	p.t.Helper()
	p.checkPrimary(must)
	if p.apart {
		p.awaitBoth("PSUS", "SSUS")
		p.tokyo.awaitLink()
		p.tokyo.do("group", "resync", "g")
		p.did("resyncs", 1)
	}
	p.awaitBoth("PAIR", "PAIR")
	p.tokyo.awaitLink()
	p.tokyo.awaitDrained()
	if copied := p.tokyo.get("groups/g")["base-sent-bytes"]; !p.apart && copied != "0" {
		p.t.Errorf("behind a power cut of the primary %s bytes were copied", copied)
	}
	at := p.osaka.Targets(powerSize, three...)
	for i, target := range p.tokyo.targets() {
		a, fa, err := target.image()
		if err != nil {
			p.t.Fatalf("%v", err)
		}
		b, fb, err := at[i].image()
		if err != nil {
			p.t.Fatalf("%v", err)
		}
		if err := SameImage(a, b); err != nil {
			p.t.Fatalf("volume %s at tokyo and osaka: %v", three[i], err)
		}
		fa.Close()
		fb.Close()
	}
	p.did("comparisons", 1)
}

// awaitBoth waits until all pairs have one status at the primary and one at the secondary.
func (p *power) awaitBoth(primary, secondary string) {
	p.t.Helper()
	for _, v := range three {
		Until(p.t, StatusLimit, "p-"+v+" is "+primary+" at tokyo", func() bool { return p.tokyo.get("p-" + v)["status"] == primary })
		p.osaka.Wait("p-"+v, StatusLimit, secondary)
	}
}
