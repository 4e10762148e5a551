package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pairfs/quicwire"
)

// impostor is a peer that speaks the protocol by hand. It serves nothing.
type impostor struct{}

func (impostor) Serve(context.Context, string, quicwire.Frame, quicwire.SendFunc) quicwire.Frame {
	return quicwire.NewResult(quicwire.ResultAccess, "an impostor serves nothing")
}
func (impostor) ServeMirror(context.Context, string, *quicwire.MirrorOpen, *quicwire.MirrorStream) {}
func (impostor) ServePath(context.Context, string, *quicwire.MirrorPath, *quicwire.MirrorStream)   {}
func (impostor) Refused(net.Addr, quicwire.Fingerprint, string)                                    {}
func (impostor) PeerUp(string, quicwire.Hello)                                                     {}
func (impostor) PeerDown(string, error)                                                            {}

// startImpostor opens an endpoint named mallory and makes it a peer, in good standing, of all the sites.
func startImpostor(t *testing.T, sites ...*Site) *quicwire.Endpoint {
	t.Helper()
	dir := t.TempDir()
	id, err := quicwire.LoadIdentity(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ep, err := quicwire.Listen(quicwire.Config{
		Identity: id, ResetKeyPath: filepath.Join(dir, "reset.key"), Site: "mallory", Listen: "127.0.0.1:0", Handler: impostor{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ep.Close(ctx)
	})
	for _, s := range sites {
		s.Do("peers/mallory", fmt.Sprintf("add address=%s key=%s create=1GiB", ep.Addr(), ep.Fingerprint()))
		fp, err := quicwire.ParseFingerprint(s.Fingerprint())
		if err != nil {
			t.Fatal(err)
		}
		if err := ep.SetPeer(s.Name, s.Listen, fp); err != nil {
			t.Fatal(err)
		}
	}
	return ep
}

// TestImpostor lets a known peer name a pair that is not its own, with the right generation, in every request of the protocol: each is
// refused, is an event, and changes nothing.
func TestImpostor(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("db", 16*mib)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	ep := startImpostor(t, s.A, s.B)
	for _, site := range []*Site{s.A, s.B} {
		Until(t, LinkLimit, "mallory is connected with "+site.Name, func() bool { return site.Get("peers/mallory")["connected"] == "yes" })
	}
	before := [2]string{s.A.snapshot(t), s.B.snapshot(t)}
	gen, err := strconv.ParseUint(s.B.Get("pair0")["generation"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	refs := []quicwire.PairRef{{Name: "pair0", Generation: gen}}
	state := quicwire.PairState{Name: "pair0", Number: 1, Generation: gen, Status: 6, SuspendType: 7}
	requests := []quicwire.Frame{
		&quicwire.DeletePair{Pairs: []quicwire.PairRef{{Name: "pair0", Generation: gen}}},
		&quicwire.DeletePair{Pairs: []quicwire.PairRef{{Name: "pair0", Generation: gen}}, Force: true},
		&quicwire.SuspendPair{Pairs: refs},
		&quicwire.SuspendPair{Pairs: refs, Mode: quicwire.SuspendPurge, SVOLWrite: true},
		&quicwire.ResyncPairs{Group: "default", Pairs: refs},
		&quicwire.ResyncPairs{Group: "default@tokyo", Pairs: refs},
		&quicwire.PowerOff{Group: "default", NewestSeq: 1 << 40, Pairs: []quicwire.PairOff{{Name: "pair0", Generation: gen, Bytes: 1 << 30, Age: 1}}},
		&quicwire.CreatePair{Pair: "pair0", Group: "default", Volume: "db", Number: 1, Size: 16 * mib, Generation: gen, JournalSize: 1 << 30},
		&quicwire.CreatePair{Pair: "pair7", Group: "g", Volume: "db", Number: 1, Size: 16 * mib, Generation: 1, JournalSize: 1 << 30},
		&quicwire.CreatePair{Pair: "pair8", Group: "../../g", Volume: "x", Number: 1, Size: 16 * mib, Generation: 1, JournalSize: 1 << 30},
		&quicwire.CreatePair{Pair: "pair8", Group: "g", Volume: "../../../etc/x", Number: 1, Size: 16 * mib, Generation: 1, JournalSize: 1 << 30},
		&quicwire.CreatePair{Pair: "../site", Group: "g", Volume: "x", Number: 1, Size: 16 * mib, Generation: 1, JournalSize: 1 << 30},
		&quicwire.CreatePair{Pair: "pair8", Group: "g", Volume: "x", Number: 1, Size: 1 << 62, Generation: 1, JournalSize: 1 << 30},
		&quicwire.CreatePair{Pair: "pair8", Group: "g", Volume: "x", Number: 1, Size: 16 * mib, Generation: 1, JournalSize: 1 << 62},
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, site := range []*Site{s.A, s.B} {
		for _, f := range requests {
			_, err := ep.Request(ctx, site.Name, f)
			var refused *quicwire.RemoteError
			if !errors.As(err, &refused) || refused.Message == "" {
				t.Errorf("%s answered %s %+v with %v, want a refusal with a sentence", site.Name, f.Type(), f, err)
			}
		}
		// A notice needs no refusal; it must only change nothing.
		ep.Request(ctx, site.Name, &quicwire.PairStates{Pairs: []quicwire.PairState{state}})
		for _, group := range []string{"default", "default@tokyo", "nix"} {
			openMirror(ctx, t, ep, site, &quicwire.MirrorOpen{Group: group, Session: 1, Pairs: []quicwire.PairState{state}})
		}
	}
	s.A.AwaitDrained("pair0")
	after := [2]string{s.A.snapshot(t), s.B.snapshot(t)}
	for i, name := range []string{"tokyo", "osaka"} {
		if before[i] != after[i] {
			t.Errorf("the impostor changed %s. Before:\n%s\nAfter:\n%s", name, before[i], after[i])
		}
	}
	for _, site := range []*Site{s.A, s.B} {
		if !site.HasEvent("peer/mallory", "pair0") && !site.HasEvent("pair/pair0", "mallory") {
			t.Errorf("%s has no event of what mallory tried with pair0", site.Name)
		}
	}
}

// openMirror pretends to be the secondary of a group: nothing of its journal may come.
func openMirror(ctx context.Context, t *testing.T, ep *quicwire.Endpoint, site *Site, open *quicwire.MirrorOpen) {
	t.Helper()
	m, err := ep.OpenMirror(ctx, site.Name, open)
	if err != nil {
		return
	}
	defer m.Close()
	f, err := m.Recv(ctx)
	if errors.Is(err, io.EOF) || err != nil {
		return
	}
	if a, ok := f.(*quicwire.MirrorAccept); !ok || a.Code == quicwire.ResultDone {
		t.Errorf("%s accepted a mirror of group %s from a stranger: %+v", site.Name, open.Group, f)
	}
}
