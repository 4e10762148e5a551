package replica

import (
	"sort"
	"time"

	"pairfs/journal"
)

// Status returns a picture of the site. It takes each group's lock for a moment and waits for nobody.
func (s *Site) Status() SiteStatus {
	st := SiteStatus{
		Name: s.cfg.Name, Fingerprint: s.identity.Fingerprint().String(), Listen: s.endpoint.Addr().String(), State: s.cfg.StateDir,
		Version: s.cfg.Version, Started: s.started, MemoryLimit: s.cfg.Memory, MemoryUsed: s.memoryUsed() + s.paths.taken(), Options: wordsOf(siteOptions, *s.opts.Load()),
	}
	kept := s.keptAll()
	st.KeptSets, st.KeptBytes = kept.sets, kept.bytes
	s.mu.RLock()
	groups := make([]*group, 0, len(s.groups))
	for _, g := range s.groups {
		groups = append(groups, g)
	}
	peers := map[string]peer{}
	for n, p := range s.peers {
		peers[n] = *p
	}
	s.mu.RUnlock()
	for _, v := range s.Volumes() {
		st.Volumes = append(st.Volumes, v.picture())
	}
	for _, g := range groups {
		gs, ps := g.picture()
		st.Groups = append(st.Groups, gs)
		st.Pairs = append(st.Pairs, ps...)
	}
	for n, p := range peers {
		st.Peers = append(st.Peers, s.peerPicture(n, p))
	}
	sort.Slice(st.Groups, func(i, j int) bool { return st.Groups[i].Name < st.Groups[j].Name })
	sort.Slice(st.Pairs, func(i, j int) bool { return st.Pairs[i].Name < st.Pairs[j].Name })
	sort.Slice(st.Peers, func(i, j int) bool { return st.Peers[i].Name < st.Peers[j].Name })
	return st
}

func (s *Site) peerPicture(name string, p peer) PeerStatus {
	since, up := s.endpoint.Connected(name)
	if err := s.endpoint.Trouble(name); err != nil {
		since, p.lastError = p.changed, err.Error()
	}
	return PeerStatus{
		Name: name, Address: p.rec.Address, Fingerprint: p.rec.Fingerprint, Connected: up, Since: since,
		Quota: p.rec.Quota, QuotaUsed: s.quotaUsed(name), LastError: p.lastError,
	}
}

func (v *Volume) picture() VolumeStatus {
	v.site.mu.RLock()
	reserved := v.reserved
	v.site.mu.RUnlock()
	v.mode.RLock()
	defer v.mode.RUnlock()
	st := VolumeStatus{Name: v.name, Size: v.Size(), Allocated: v.Allocated(), Reserved: reserved, Open: int(v.opens.Load()), Writable: true}
	if a := v.att; a != nil {
		st.Pair, st.Writable = a.pair.name, a.writable.Load() || a.group.fence.Load() != nil // behind a fence they wait
		st.Role = a.group.role
	}
	return st
}

// picture of the group and its pairs.
func (g *group) picture() (GroupStatus, []PairStatus) {
	if e := g.held.Load(); e != nil {
		return g.heldPicture(e)
	}
	l := g.lags() // before the lock: it may read the journal
	m, u := g.journal.Marks(), g.journal.Usage()
	g.mu.Lock()
	defer g.mu.Unlock()
	st := GroupStatus{
		Name: g.name, Role: g.role, Peer: g.rec.Peer, PeerGroup: g.rec.PeerGroup, Volumes: g.rec.Volumes, VolumeSize: g.rec.Size, JournalVolumes: g.journalVolumes(), Adding: g.adding.Load(), Capacity: u.Capacity, Used: u.Used,
		RingSize: u.RingSize, RingUsed: u.RingUsed, AppendedSeq: uint64(m.AppendedSeq), DurableSeq: uint64(m.DurableSeq),
		RestoredSeq: uint64(g.restoredSeq), PeerDurable: uint64(g.peerDurable), PeerRestored: uint64(g.peerRestore),
		Linked: g.linked, Failed: g.failed, Sent: g.sent.Load(), Received: g.received.Load(), Saved: g.saved.Load(), BaseSent: g.baseSent.Load(), WaitedRoom: g.waited.Load(),
		Usage: g.groupUsage(), Over: g.over, Heard: g.lastHeard, Options: wordsOf(groupOptions, *g.opts.Load()),
		LagSeq: l.seq, LagBytes: l.bytes, LagTime: l.time, LagKnown: !l.unknown,
	}
	if e := g.storeErr.Load(); e != nil {
		st.StoreError = (*e).Error()
	}
	f := g.mirrorFacts(m)
	st.Mirror, st.Code, st.Unrestored = f.word(), f.code(), f.unrestored
	left := g.drainLeft(m)
	var pairs []PairStatus
	for name, p := range g.pairs {
		st.Pairs = append(st.Pairs, name)
		pairs = append(pairs, g.pairPicture(p, l, left))
	}
	sort.Strings(st.Pairs)
	return st, pairs
}

// mirrorFacts gathers what the mirror's status follows from. Requires mu.
func (g *group) mirrorFacts(m journal.Marks) mirrorFacts {
	f := mirrorFacts{role: g.role, over: g.over}
	for _, p := range g.pairs {
		f.pairs = append(f.pairs, p.shown)
		f.peerHalts = f.peerHalts || p.peerStatus == Suspending
	}
	if !g.linked {
		f.silent = time.Since(g.linkChange)
	}
	have := g.restoredSeq
	if g.role == Primary {
		have = g.peerRestore
	}
	if m.AppendedSeq > have && len(f.pairs) > 0 {
		f.unrestored = uint64(m.AppendedSeq - have)
	}
	return f
}

// drainLeft is how many bytes of the journal a flush has still to bring to the peer. Requires mu.
func (g *group) drainLeft(m journal.Marks) int64 {
	stop := journal.Seq(0)
	for _, p := range g.pairs {
		if p.rec.State.Status == Suspending && p.rec.StopSeq != noStop {
			stop = max(stop, p.rec.StopSeq)
		}
	}
	if stop <= g.peerRestore {
		return 0
	}
	from, ok := g.journal.Locate(g.peerRestore + 1)
	if !ok {
		return 0
	}
	to, ok := g.journal.Locate(stop)
	if !ok {
		to = m.Appended
	}
	return int64(to - from)
}

func (g *group) pairPicture(p *pair, all lags, drainLeft int64) PairStatus {
	r := p.rec
	r.State.Status, r.State.Suspend, r.State.SVOLWrite, r.State.TookOver = p.shown.Status, p.shown.Suspend, p.shown.SVOLWrite, p.shown.TookOver
	st := PairStatus{
		Name: p.name, Volume: r.Volume, RemoteVolume: r.RemoteVolume, Peer: r.Peer, Group: g.name, Role: r.State.Role, Status: r.State.Status,
		Suspend: r.State.Suspend, Size: r.Size, Generation: r.Generation, Consistent: r.State.Consistent, Linked: g.linked,
		Different: p.att.bits.bytes(), SVOLWrite: r.State.SVOLWrite, Since: r.Since, LastError: p.lastError(), Why: p.why(), CopyMode: "full", LagKnown: true, Usage: p.att.use.picture(g.usage.lookedAt()),
	}
	if r.CopyNone {
		st.CopyMode = "none"
	}
	if g.over && r.State.Role == Primary && (st.Status == COPY || st.Status == PAIR) {
		st.Status = PFUL
	}
	st.Options = wordsOf(pairOptions, p.opts)
	kept := g.site.keptOf(p.name)
	st.KeptSets, st.KeptBytes = kept.sets, kept.bytes
	switch {
	case p.gone || r.State.Suspend == DeletePairToRCU:
		st.PeerStatus = SMPL.String()
	case p.peerStatus != SMPL:
		st.PeerStatus = p.peerStatus.On(otherRole(r.State.Role))
	}
	st.TakenOver, st.TakenSeq = r.State.TookOver, uint64(r.TakenSeq)
	if r.TakenTime != 0 {
		st.TakenTime = time.Unix(0, r.TakenTime)
	}
	st.PeerUnheard = r.State.Role == Primary && !r.State.TookOver && p.unheard
	if r.State.Status == Suspending {
		st.SplitLeft = splitLeft(drainLeft, g.drainRate)
	}
	if r.State.Status.suspended() && r.StopSeq != noStop {
		st.SuspendSeq = uint64(r.StopSeq)
	}
	if r.State.Status.active() {
		l := all.of(p.att)
		st.LagSeq, st.LagBytes, st.LagTime, st.LagKnown = l.seq, l.bytes, l.time, !l.unknown
	}
	if r.State.Suspend == MCUPowerOff {
		r.Missing.shows(&st, g.lastSeq, g.site.wall().Sub(r.Since))
	}
	st.Copied = r.Size - st.Different
	switch {
	case r.State.Status == PAIR:
		st.Copied, st.Different = r.Size, 0
	case r.State.Role == Secondary && (r.State.Status == COPY || !r.State.Consistent):
		st.Copied = -1 // the primary knows
	case r.State.Status == COPY:
		p.progress(&st)
	}
	return st
}

// progress fills in what a copy has done and how long it may take. Requires group.mu.
func (p *pair) progress(st *PairStatus) {
	left := st.Different
	if c := p.copier; c != nil {
		left = max(0, left-c.under)
	}
	st.CopyLeft, st.Copied = left, p.rec.Size-left
	if took := time.Since(p.copyStart); !p.copyStart.IsZero() && p.copyTotal > left && took > 0 {
		st.CopyRate = float64(p.copyTotal-left) / took.Seconds()
		st.ETA = time.Duration(float64(left) / st.CopyRate * float64(time.Second))
	}
}
