package replica

import (
	"log/slog"
	"maps"
	"slices"
	"unicode/utf8"

	"pairfs/quicwire"
)

// What an operator set at the primary travels with the role: the secondary keeps it while it is one, and works with it once it is the primary,
// except for what was set at its own side, which holds there. So the other side is told of everything that was set, by hand here or at the side
// that was the primary before, and of the name of each P-VOL: that is the other side's volume once the roles were exchanged.
//
// Two options are not the primary's. Use of cache is about the disks of a side, so it stays there. Path watch time both sides have: what was
// handed on holds from the exchange on, or at once if the primary's forward-path-watch says so.

// staysHere are options of a group that are not handed on.
var staysHere = map[string]bool{"use-of-cache": true}

// ofPrimary are options of a group that a secondary which was handed them does not follow before it is the primary.
var ofPrimary = map[string]bool{"path-watch": true}

// handedOn are the options that the other side is handed: what was set here over what was set there before.
func handedOn(own, handed map[string]string) (all []quicwire.Setting) {
	set := maps.Clone(handed)
	if set == nil {
		set = map[string]string{}
	}
	maps.Copy(set, own)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !staysHere[name] && len(all) < quicwire.MaxSettings {
			all = append(all, quicwire.Setting{Name: name, Value: set[name]})
		}
	}
	return all
}

// mergeHanded lets the options hold that follow from what was set here and there, and returns those of another version that were set here.
// Requires mu, or that nobody else has the group yet.
func (g *group) mergeHanded() (unknown []string) {
	o, unknown := stored(groupOptions, g.unsetOptions(), g.rec.Options)
	g.useOptions(o)
	return unknown
}

// unsetOptions are those that hold where nothing was set here. Requires mu, or that nobody else has the group yet.
func (g *group) unsetOptions() GroupOptions {
	handed := maps.Clone(g.rec.Handed)
	maps.DeleteFunc(handed, func(name, _ string) bool { return staysHere[name] || ofPrimary[name] && g.role != Primary })
	o, _ := stored(groupOptions, defaultGroupOptions(g.site.cfg.PathWatch), handed)
	return o
}

// mergeHanded is the same for a pair.
func (p *pair) mergeHanded() (unknown []string) {
	p.opts, unknown = stored(pairOptions, p.unsetOptions(), p.rec.Options)
	return unknown
}

// unsetOptions is the same for a pair. Requires group.mu, or that nobody else has the pair yet.
func (p *pair) unsetOptions() PairOptions {
	o, _ := stored(pairOptions, defaultPairOptions(), p.rec.Handed)
	return o
}

// settings are what the other side is to know of the group and of its pairs. Requires mu.
func (g *group) settings() []*quicwire.MirrorSettings {
	all := []*quicwire.MirrorSettings{{Settings: handedOn(g.rec.Options, g.rec.Handed)}}
	for _, p := range g.pairs {
		all = append(all, &quicwire.MirrorSettings{Number: p.rec.Number, Volume: p.rec.Volume, Settings: handedOn(p.rec.Options, p.rec.Handed)})
	}
	return all
}

// sendSettings tells the peer what is set, once and when it changes.
func (f *feedSession) sendSettings() error {
	now := f.g.setting.Load() + 1
	if f.setting == now || f.stream.Agreement().Features&quicwire.FeatureSettings == 0 {
		return nil
	}
	f.g.mu.Lock()
	all := f.g.settings()
	f.g.mu.Unlock()
	told := map[uint32]*quicwire.MirrorSettings{}
	for _, m := range all {
		told[m.Number] = m
		if o := f.handed[m.Number]; o != nil && o.Volume == m.Volume && slices.Equal(o.Settings, m.Settings) {
			continue
		}
		if err := f.stream.Send(f.ctx, m); err != nil {
			return err
		}
	}
	f.setting, f.handed = now, told
	return nil
}

// takeSettings keeps what the primary says is set, in memory at once, so that a takeover finds it, and soon in the database.
func (p *pullSession) takeSettings(m *quicwire.MirrorSettings) {
	g := p.g
	set := map[string]string{}
	for _, s := range m.Settings {
		if utf8.ValidString(s.Name) && utf8.ValidString(s.Value) { // the database would store other words, and longer ones than the wire takes
			set[s.Name] = s.Value
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pulling != p {
		return // it may be about roles that were exchanged since
	}
	if m.Number == 0 {
		if maps.Equal(g.rec.Handed, set) {
			return
		}
		g.rec.Handed = set
		g.mergeHanded()
		g.storeSoon()
		return
	}
	a := g.members[m.Number]
	if a == nil || checkName("volume", m.Volume) != nil {
		return
	}
	rec := &a.pair.rec
	if rec.RemoteVolume == m.Volume && maps.Equal(rec.Handed, set) {
		return
	}
	rec.RemoteVolume, rec.Handed = m.Volume, set
	a.pair.mergeHanded()
	g.site.slots.rank(a.pair, a.pair.opts.Priority)
	g.storeSoon()
}

// storeSoon lets what was learned of the other side be stored.
func (g *group) storeSoon() {
	g.unstored.Store(true)
	kick(g.watchReq)
}

// storeLearned makes what was learned of the other side durable, options and what it confirmed, and states that could not be stored; the next time if a
// command is under way. A state that is stored anyway takes it along.
func (g *group) storeLearned() {
	if !g.unstored.Load() || !g.cmd.TryLock() {
		return
	}
	defer g.cmd.Unlock()
	g.unstored.Store(false)
	if err := g.storeStates(g.allPairs()); err != nil {
		g.unstored.Store(true)
		if g.site.firstIn(releaseRetryMax, "learned "+g.name) {
			g.site.events.add(slog.LevelError, g.object(), "the states of its pairs, or what %s has told, cannot be stored: %v", g.rec.Peer, err)
		}
		return
	}
	g.storedAll()
}

// storedAll ends what waits for states that could not be stored when they changed: the records that they lead to, and what may not pass to the peer.
// cmd is held.
func (g *group) storedAll() {
	if !g.late.Swap(false) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pairs {
		p.stopping = false
	}
	if g.session != nil {
		kick(g.session.wake)
	}
	g.tellFirst()
}
