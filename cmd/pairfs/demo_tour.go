package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// demoPair is the name of the pair, of its volume and of its journal group in the demo.
const demoPair = "disk"

// tour goes through the chapters.
func (d *demo) tour() error {
	for _, chapter := range []func() error{d.makeImage, d.startSites, d.replicate, d.cutLink, d.split, d.history} {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if err := chapter(); err != nil {
			return err
		}
	}
	return nil
}

// startSites mounts both sites and makes them known to each other.
func (d *demo) startSites() error {
	d.chapter("Two sites, each a process with a mount of its own")
	for _, s := range d.sites {
		if err := d.start(s); err != nil {
			return err
		}
	}
	tokyo, osaka := d.sites[0], d.sites[1]
	relay, err := startRelay(osaka.listen, tokyo.listen)
	if err != nil {
		return err
	}
	d.relay = relay
	d.say("A peer is an address and a public key (pairfs key). Here the addresses are those of a relay between the\ntwo, so that the link can be cut. osaka lets tokyo take 1 GiB for its volumes.")
	if err := d.pairfs("--mount", tokyo.name, "peer", "add", "osaka", relay.ends[0], osaka.fingerprint); err != nil {
		return err
	}
	if err := d.pairfs("--mount", osaka.name, "peer", "add", "tokyo", relay.ends[1], tokyo.fingerprint, "--create=1GiB"); err != nil {
		return err
	}
	err = d.until("the two sites are connected", func() (bool, error) {
		p, err := tokyo.site.read("peers/osaka")
		return p.get("connected") == "yes", err
	})
	if err != nil {
		return err
	}
	return d.pairfs("--mount", tokyo.name, "peer", "list")
}

// replicate makes the pair and copies the image into the volume while it is replicated.
func (d *demo) replicate() error {
	d.chapter("A volume, its pair, and an image that is copied into it")
	tokyo, osaka := d.sites[0], d.sites[1]
	if _, err := d.run(true, "truncate", "-s", demoImageSize, d.disk(tokyo)); err != nil {
		return err
	}
	at := []string{"--mount", tokyo.name}
	if err := d.pairfs(append(at, "group", "create", demoPair, "--size=128MiB")...); err != nil {
		return err
	}
	if err := d.pairfs(append(at, "pair", "create", demoPair, "--volume="+demoPair, "--peer=osaka", "--group="+demoPair)...); err != nil {
		return err
	}
	if _, err := d.run(false, "dd", "if="+demoImage, "of="+d.disk(tokyo), "bs=1M", "conv=notrunc,fsync"); err != nil {
		return err
	}
	if err := d.pairfs(append(at, "pair", "wait", demoPair, "PAIR", "--progress")...); err != nil {
		return err
	}
	if err := d.caughtUp(); err != nil {
		return err
	}
	if err := d.pairfs(append(at, "status")...); err != nil {
		return err
	}
	if err := d.pairfs("--mount", osaka.name, "status"); err != nil {
		return err
	}
	d.say("Both images, and the file that was copied:")
	return d.equal(demoImage)
}

// cutLink cuts the link, goes on writing, and restores it.
func (d *demo) cutLink() error {
	d.chapter("The link is cut while tokyo goes on")
	if err := d.relay.do("cut"); err != nil {
		return err
	}
	if err := d.change("written-while-the-link-was-cut"); err != nil {
		return err
	}
	d.say("Nobody who writes notices. What osaka does not have yet is in the journal: LAG-BYTES.")
	if err := d.pairfs("--mount", d.sites[0].name, "status"); err != nil {
		return err
	}
	if err := d.differ(); err != nil {
		return err
	}
	d.say("What osaka has is the image of one moment, only an older one:")
	if err := d.fsck(d.sites[1]); err != nil {
		return err
	}
	d.say("The link is restored.")
	if err := d.relay.do("restore"); err != nil {
		return err
	}
	if err := d.caughtUp(); err != nil {
		return err
	}
	return d.equal()
}

// split suspends the pair, changes the volume, and joins the pair again.
func (d *demo) split() error {
	d.chapter("The pair is split, tokyo changes, the pair is joined again")
	tokyo, osaka := d.sites[0], d.sites[1]
	at := []string{"--mount", tokyo.name}
	if err := d.pairfs(append(at, "pair", "suspend", demoPair)...); err != nil {
		return err
	}
	if err := d.pairfs(append(at, "pair", "wait", demoPair, "PSUS")...); err != nil {
		return err
	}
	if err := d.pairfs("--mount", osaka.name, "pair", "wait", demoPair, "SSUS"); err != nil {
		return err
	}
	if err := d.change("written-while-the-pair-was-split"); err != nil {
		return err
	}
	d.say("Now a bitmap remembers what differs:")
	err := d.until("the difference shows in the bitmap", func() (bool, error) {
		p, err := tokyo.site.read(demoPair)
		n, ok := p.number("different-bytes")
		return ok && n > 0, err
	})
	if err != nil {
		return err
	}
	if err := d.pairfs(append(at, "status")...); err != nil {
		return err
	}
	if err := d.differ(); err != nil {
		return err
	}
	d.say("And only that is copied:")
	if err := d.pairfs(append(at, "pair", "resync", demoPair)...); err != nil {
		return err
	}
	if err := d.pairfs(append(at, "pair", "wait", demoPair, "PAIR", "--progress")...); err != nil {
		return err
	}
	if err := d.caughtUp(); err != nil {
		return err
	}
	if err := d.equal(); err != nil {
		return err
	}
	return d.fsck(osaka)
}

// history shows the events of both sites.
func (d *demo) history() error {
	d.chapter("What the sites remember of it")
	for _, s := range d.sites {
		if err := d.pairfs("--mount", s.name, "events", "--no-follow"); err != nil {
			return err
		}
	}
	return nil
}

// disk is the path of the volume at a site, from the directory of the demo.
func (d *demo) disk(s *demoSite) string { return filepath.Join(s.name, demoPair) }

// caughtUp waits until osaka holds everything that was written at tokyo.
func (d *demo) caughtUp() error {
	return d.until("osaka has caught up", func() (bool, error) {
		p, err := d.sites[0].site.read(demoPair)
		n, ok := p.number("lag-records")
		return ok && n == 0 && p.get("linked") == "yes" && p.get("status") == "PAIR", err
	})
}

// sums shows the checksums of both volumes, and of further files, and returns them.
func (d *demo) sums(also ...string) ([]string, error) {
	said, err := d.run(true, "sha256sum", append([]string{d.disk(d.sites[0]), d.disk(d.sites[1])}, also...)...)
	if err != nil {
		return nil, err
	}
	var sums []string
	for line := range strings.Lines(said) {
		if f := strings.Fields(line); len(f) == 2 {
			sums = append(sums, f[0])
		}
	}
	if len(sums) != 2+len(also) {
		return nil, fmt.Errorf("sha256sum printed %q", said)
	}
	return sums, nil
}

// equal proves that both volumes, and further files, have the same bytes.
func (d *demo) equal(also ...string) error {
	sums, err := d.sums(also...)
	if err != nil {
		return err
	}
	for _, s := range sums {
		if s != sums[0] {
			return errors.New("the images differ although they must not; this is a defect of pairfs")
		}
	}
	d.say("Equal.")
	return nil
}

// differ proves that the volumes differ.
func (d *demo) differ() error {
	sums, err := d.sums()
	if err != nil {
		return err
	}
	if sums[0] == sums[1] {
		return errors.New("the images are equal although tokyo was changed alone; this is a defect of pairfs")
	}
	return nil
}

// fsck proves that the volume of a site holds a clean ext4 file system.
func (d *demo) fsck(s *demoSite) error {
	if _, err := d.run(true, "e2fsck", "-fn", d.disk(s)); err != nil {
		return fmt.Errorf("the file system at %s is damaged; this is a defect of pairfs: %w", s.name, err)
	}
	return nil
}
