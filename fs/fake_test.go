package fs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// fakeSite is a site without replication: volumes in memory, and commands that are only noted.
type fakeSite struct {
	mu          sync.Mutex
	volumes     map[string]*fakeVolume
	lastID      uint64
	status      replica.SiteStatus // pairs, groups and peers
	events      []replica.Event
	wake        chan struct{} // closed and replaced with each event
	calls       []string      // the commands that came
	refuse      error         // what the next commands return
	differences []*replica.Differences
	audit       []replica.Entry
	kept        []replica.Kept
	pictures    int   // how often Status was called
	keptErr     error // what reads of kept sets return
	invalidate  func(id uint64, off, n int64)
}

func newFakeSite() *fakeSite {
	return &fakeSite{
		volumes: map[string]*fakeVolume{}, lastID: firstVolumeIno - 1, wake: make(chan struct{}),
		status: replica.SiteStatus{Name: "tokyo", Fingerprint: "SHA256:abc", Listen: "[::]:7000", State: "/var/lib/pairfs", Version: "test"},
	}
}

func (s *fakeSite) Volumes() []volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []volume
	for _, v := range s.volumes {
		list = append(list, v)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name() < list[j].Name() })
	return list
}

func (s *fakeSite) Volume(name string) (volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.volumes[name]; ok {
		return v, nil
	}
	return nil, kindError(replica.KindNotFound, fmt.Sprintf("there is no volume %q", name))
}

func (s *fakeSite) CreateVolume(name string) (volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes[name] != nil {
		return nil, kindError(replica.KindExists, fmt.Sprintf("there is a volume %q already", name))
	}
	s.lastID++
	v := &fakeVolume{id: s.lastID, name: name, blocks: map[int64]bool{}, mod: time.Now()}
	s.volumes[name] = v
	return v, nil
}

func (s *fakeSite) RemoveVolume(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[name]
	if v == nil {
		return kindError(replica.KindNotFound, "there is no such volume")
	}
	if v.isPaired() {
		return kindError(replica.KindBusy, "the volume is paired; delete the pair first")
	}
	delete(s.volumes, name)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.removed = true
	return nil
}

func (s *fakeSite) RenameVolume(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[from]
	if v.isPaired() {
		return kindError(replica.KindBusy, "the volume is paired; delete the pair first")
	}
	delete(s.volumes, from)
	s.volumes[to] = v
	v.mu.Lock()
	v.name = to
	v.mu.Unlock()
	return nil
}

func (s *fakeSite) Statfs() (unix.Statfs_t, error) {
	return unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 1000, Bfree: 600, Bavail: 500}, nil
}

func (s *fakeSite) Status() replica.SiteStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pictures++
	st := s.status
	st.Pairs, st.Groups, st.Peers = slices.Clone(st.Pairs), slices.Clone(st.Groups), slices.Clone(st.Peers)
	for _, v := range s.volumes {
		st.Volumes = append(st.Volumes, replica.VolumeStatus{Name: v.Name(), Size: v.Size(), Allocated: v.Allocated(), Open: v.handles(), Writable: v.Writable() == nil})
	}
	return st
}

func (s *fakeSite) Note(level slog.Level, object, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, replica.Event{ID: uint64(len(s.events) + 1), Time: time.Unix(1e9, 0), Level: level.String(), Object: object, Text: text})
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *fakeSite) Subscribe(after uint64) eventReader {
	return &fakeReader{site: s, after: int(after)}
}

func (s *fakeSite) SetInvalidate(f func(id uint64, off, n int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidate = f
}

func (s *fakeSite) Audit(e replica.Entry) {
	e.Kind = replica.EntryCommand
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audit = append(s.audit, e)
}

func (s *fakeSite) History(context.Context) ([]replica.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.audit), nil
}

func (s *fakeSite) GroupOf(string) string { return "" }

func (s *fakeSite) Knows(title string) bool {
	st := s.Status()
	s.mu.Lock()
	s.pictures-- // a site takes none for this
	s.mu.Unlock()
	sort, name, _ := strings.Cut(title, "/")
	o := object{map[string]objectKind{"pair": pairObject, "group": groupObject, "peer": peerObject, "volume": volumeObject}[sort], name}
	_, ok := o.text(&st)
	return ok
}

type fakeReader struct {
	site  *fakeSite
	after int
}

func (r *fakeReader) Next(ctx context.Context) (replica.Event, error) {
	for {
		r.site.mu.Lock()
		events, wake := r.site.events, r.site.wake
		r.site.mu.Unlock()
		if r.after < len(events) {
			r.after++
			return events[r.after-1], nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return replica.Event{}, ctx.Err()
		}
	}
}

func (r *fakeReader) Close() {}

// call notes a command; it returns the refusal that was set.
func (s *fakeSite) call(format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
	return s.refuse
}

func (s *fakeSite) AddPeer(_ context.Context, p replica.PeerSpec) error {
	return s.call("AddPeer %+v", p)
}

func (s *fakeSite) RemovePeer(_ context.Context, name string) error {
	return s.call("RemovePeer %s", name)
}

func (s *fakeSite) CreateGroup(_ context.Context, g replica.GroupSpec) error {
	return s.call("CreateGroup %+v", g)
}

func (s *fakeSite) DeleteGroup(_ context.Context, name string, o replica.DeleteOptions) error {
	return s.call("DeleteGroup %s %+v", name, o)
}

func (s *fakeSite) SuspendGroup(_ context.Context, name string, o replica.SuspendOptions) error {
	return s.call("SuspendGroup %s %+v", name, o)
}

// fakeMarker is the marker that is placed, and the only one that is known.
var fakeMarker = replica.Marker{Name: "p", Epoch: 0xabc, Seq: 42}

func (s *fakeSite) MarkPair(_ context.Context, name string) (replica.Marker, error) {
	return fakeMarker, s.call("MarkPair %s", name)
}

func (s *fakeSite) MarkGroup(_ context.Context, name string) (replica.Marker, error) {
	return fakeMarker, s.call("MarkGroup %s", name)
}

// WaitMarker waits for the marker for as long as it may.
func (s *fakeSite) WaitMarker(ctx context.Context, m replica.Marker) (replica.MarkerStatus, error) {
	if err := s.call("WaitMarker %s", m); err != nil {
		return replica.MarkerStatus{}, err
	}
	<-ctx.Done()
	return replica.MarkerStatus{Marker: m, State: replica.MarkerWaiting, Pairs: []string{"p", "q"}, Group: "g", Role: replica.Primary, Peer: "osaka", Restored: 41, Note: "not yet"}, nil
}

func (s *fakeSite) ResyncGroupWith(_ context.Context, name string, o replica.ResyncOptions) error {
	return s.call("ResyncGroup %s %+v", name, o)
}

// TakeoverGroup says what it was.
func (s *fakeSite) TakeoverGroup(ctx context.Context, name string, o replica.TakeoverOptions) error {
	replica.Remark(ctx, "swap-takeover: nothing is lost")
	return s.call("TakeoverGroup %s %v", name, o.Timeout)
}

func (s *fakeSite) SetGroup(_ context.Context, name string, set map[string]string) error {
	return s.call("SetGroup %s %v", name, set)
}

func (s *fakeSite) SetPair(_ context.Context, name string, set map[string]string) error {
	return s.call("SetPair %s %v", name, set)
}

func (s *fakeSite) SetSite(_ context.Context, set map[string]string) error {
	return s.call("SetSite %v", set)
}

func (s *fakeSite) AddJournalVolume(_ context.Context, name string, size int64) error {
	return s.call("AddJournalVolume %s %d", name, size)
}

func (s *fakeSite) RemoveJournalVolume(_ context.Context, name string, number int) error {
	return s.call("RemoveJournalVolume %s %d", name, number)
}

// CreatePair makes a pair that shows.
func (s *fakeSite) CreatePair(_ context.Context, p replica.PairSpec) error {
	if err := s.call("CreatePair %+v", p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Pairs = append(s.status.Pairs, replica.PairStatus{
		Name: p.Name, Volume: p.Volume, RemoteVolume: p.RemoteVolume, Peer: p.Peer, Group: p.Group, Role: replica.Primary, Status: replica.COPY,
	})
	return nil
}

// SuspendPair remarks something on a purge.
func (s *fakeSite) SuspendPair(ctx context.Context, name string, o replica.SuspendOptions) error {
	if o.Purge {
		replica.Remark(ctx, "this much\nis lost")
		replica.Remark(ctx, "and that")
	}
	return s.call("SuspendPair %s %+v", name, o)
}

func (s *fakeSite) ResyncPairWith(_ context.Context, name string, o replica.ResyncOptions) error {
	return s.call("ResyncPair %s %+v", name, o)
}

// TakeoverPair says how long it may take.
func (s *fakeSite) TakeoverPair(ctx context.Context, name string, o replica.TakeoverOptions) error {
	if end, ok := ctx.Deadline(); !ok || time.Until(end) < o.Timeout {
		return kindError(replica.KindInternal, "the context of the command ends before the takeover")
	}
	replica.Remark(ctx, "SVOL-SSUS-takeover: hosts may write now")
	return s.call("TakeoverPair %s %v", name, o.Timeout)
}

// DeletePair takes the pair away.
func (s *fakeSite) DeletePair(_ context.Context, name string, o replica.DeleteOptions) error {
	if err := s.call("DeletePair %s %+v", name, o); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Pairs = slices.DeleteFunc(s.status.Pairs, func(p replica.PairStatus) bool { return p.Name == name })
	return nil
}

func (s *fakeSite) PairResyncDifferences(_ context.Context, name string, o replica.ResyncOptions) ([]*replica.Differences, error) {
	return s.differences, s.call("PairResyncDifferences %s %+v", name, o)
}

func (s *fakeSite) GroupResyncDifferences(_ context.Context, name string, o replica.ResyncOptions) ([]*replica.Differences, error) {
	return s.differences, s.call("GroupResyncDifferences %s %+v", name, o)
}

func (s *fakeSite) ReserveVolume(_ context.Context, volume, peer string) error {
	return s.call("ReserveVolume %s for %q", volume, peer)
}
