package replica

import (
	"errors"
	"fmt"
	"strings"

	"pairfs/journal"
	"pairfs/quicwire"
)

// What the entries of site.db may say. That they are those which were stored their sum shows; that they were stored by a pairfs, and by none that
// knows more words than this one, shows here. Nothing is made of a name, a size or a state before it was looked at: names become paths, sizes
// memory, and states places in tables.

// valid refuses a database with an entry that no pairfs of this format stores.
func (d *database) valid() error {
	peers, e1 := load[peerRecord](d, bucketPeers)
	volumes, e2 := load[volumeRecord](d, bucketVolumes)
	groups, e3 := load[groupRecord](d, bucketGroups)
	pairs, e4 := load[pairRecord](d, bucketPairs)
	rings, e5 := load[ringRecord](d, bucketRings)
	if err := errors.Join(e1, e2, e3, e4, e5); err != nil {
		return fmt.Errorf("%s cannot be used: %w; go on as without a site.db (docs/runbooks.md, Lost database)", d.path, err)
	}
	for name, p := range peers {
		if err := p.valid(name); err != nil {
			return d.invalid("peer", name, err)
		}
	}
	for name := range volumes {
		if err := checkName("volume", name); err != nil {
			return d.invalid("volume", name, err)
		}
	}
	for name, g := range groups {
		if err := g.valid(name); err != nil {
			return d.invalid("group", name, err)
		}
	}
	for name := range rings {
		if err := validGroup(name); err != nil {
			return d.invalid("ring", name, err)
		}
	}
	return d.validPairs(pairs)
}

func (d *database) invalid(what, name string, err error) error {
	return refuse(KindInternal, "%s cannot be used: its %s %q is none that this pairfs stores: %v; start the newer pairfs that wrote it, or go on as without a site.db (docs/runbooks.md, Lost database)", d.path, what, name, err)
}

func (p *peerRecord) valid(name string) error {
	_, err := quicwire.ParseFingerprint(p.Fingerprint)
	if p.Quota < 0 {
		err = fmt.Errorf("it may create %d bytes", p.Quota)
	}
	return errors.Join(checkName("peer", name), checkAddress(p.Address), err)
}

// validGroup refuses a group that is named neither by an operator nor by what it follows, GROUP@PEER: each part is a name.
func validGroup(name string) error {
	for part := range strings.SplitSeq(name, "@") {
		if err := checkName("group", part); err != nil {
			return err
		}
	}
	return nil
}

func (g *groupRecord) valid(name string) error {
	if err := validGroup(name); err != nil {
		return err
	}
	if g.Peer != "" {
		if err := errors.Join(checkName("peer", g.Peer), validGroup(g.PeerGroup)); err != nil {
			return err
		}
	}
	if g.Role > Secondary || g.Volumes < 0 || g.Volumes > journal.MaxVolumes || len(g.Sizes) > journal.MaxVolumes {
		return fmt.Errorf("role %d, %d and %d journal volumes", g.Role, g.Volumes, len(g.Sizes))
	}
	for _, size := range append([]int64{g.Size}, g.Sizes...) {
		if size < 0 || size > volumeMax {
			return fmt.Errorf("a journal volume of %d bytes", size)
		}
	}
	return nil
}

// validPairs looks at pairs, and that no two are in each other's way.
func (d *database) validPairs(pairs map[string]pairRecord) error {
	type place struct {
		group  string
		number uint32
	}
	numbers, volumes := map[place]string{}, map[string]string{}
	for name, p := range pairs {
		if err := p.valid(name); err != nil {
			return d.invalid("pair", name, err)
		}
		at := place{p.Group, p.Number}
		if other, taken := numbers[at]; taken {
			return d.invalid("pair", name, fmt.Errorf("it has number %d of group %q, and pair %q has it too", p.Number, p.Group, other))
		}
		if other, taken := volumes[p.Volume]; taken {
			return d.invalid("pair", name, fmt.Errorf("its volume %q is in pair %q too", p.Volume, other))
		}
		numbers[at], volumes[p.Volume] = name, name
	}
	return nil
}

func (p *pairRecord) valid(name string) error {
	if err := errors.Join(checkName("pair", name), checkName("volume", p.Volume), validGroup(p.Group), checkName("peer", p.Peer)); err != nil {
		return err
	}
	s := p.State
	if s.Role != Primary && s.Role != Secondary || s.Status >= numStatus || s.Suspend >= numSuspendType {
		return fmt.Errorf("role %d, status %s, suspend type %s", s.Role, s.Status, s.Suspend)
	}
	if p.Size < 0 || p.Size > volumeMax || p.Number == 0 {
		return fmt.Errorf("number %d, %d bytes", p.Number, p.Size)
	}
	return nil
}
