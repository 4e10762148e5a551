package replica

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Options are changed while everything runs: what is set is stored first, then it holds for what happens next.

// SetGroup changes options of a journal group on this side, by name; see [OptionNames]. Either all are changed or, with a KindInvalid
// error that names the range, none.
func (s *Site) SetGroup(_ context.Context, name string, set map[string]string) error {
	return s.withGroup(name, func(g *group) error {
		if err := g.set(set); err != nil {
			return err
		}
		s.events.add(slog.LevelInfo, g.object(), "set: %s", setWords(set))
		return nil
	})
}

// set changes options. group.cmd is held.
func (g *group) set(set map[string]string) error {
	next, err := withOptions(groupOptions, *g.opts.Load(), "group "+g.name, set)
	if err != nil {
		return err
	}
	g.mu.Lock()
	options := mergeOptions(groupOptions, g.rec.Options, next, set)
	g.mu.Unlock()
	err = g.site.db.update(func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		rec := g.rec
		rec.Options = options
		return put(tx, bucketGroups, g.name, rec)
	})
	if err != nil {
		return fault(KindInternal, err, "group %s: its options cannot be stored", g.name)
	}
	g.mu.Lock()
	g.rec.Options = options
	g.mergeHanded() // the other side may have handed something on meanwhile
	session := g.session
	g.mu.Unlock()
	g.setting.Add(1)
	if session != nil {
		kick(session.wake)
	}
	return nil
}

// useOptions lets options hold from now on.
func (g *group) useOptions(o GroupOptions) {
	g.opts.Store(&o)
	g.line.set(float64(o.LineSpeed))
	kick(g.lookReq)
}

// loadOptions takes the options from the group's record.
func (g *group) loadOptions() {
	g.site.tellUnknown(g.object(), g.mergeHanded())
}

// SetPair changes options of a pair on this side; otherwise as [Site.SetGroup].
func (s *Site) SetPair(_ context.Context, name string, set map[string]string) error {
	return s.onServedPair(name, func(g *group, pairs []*pair) error {
		p := pairs[0]
		g.mu.Lock()
		had, have := p.opts, p.rec.Options
		g.mu.Unlock()
		next, err := withOptions(pairOptions, had, "pair "+name, set)
		if err != nil {
			return err
		}
		own := mergeOptions(pairOptions, have, next, set)
		g.mu.Lock()
		p.rec.Options = own
		p.mergeHanded() // the other side may have handed something on meanwhile
		session, priority := g.session, p.opts.Priority
		g.mu.Unlock()
		if err := g.persist(p); err != nil {
			g.mu.Lock()
			p.rec.Options = have
			p.mergeHanded()
			g.mu.Unlock()
			return fault(KindInternal, err, "pair %s: its options cannot be stored", name)
		}
		s.slots.rank(p, priority)
		g.setting.Add(1)
		if session != nil {
			kick(session.wake)
		}
		s.events.add(slog.LevelInfo, p.object(), "set: %s", setWords(set))
		return nil
	})
}

// loadOptions takes the options from the pair's record.
func (p *pair) loadOptions() {
	unknown := p.mergeHanded()
	p.group.site.tellUnknown(p.object(), unknown)
}

// siteOptionsKey is where the options of the site stand in the site bucket.
const siteOptionsKey = "options"

// SetSite changes options of the site; otherwise as [Site.SetGroup].
func (s *Site) SetSite(_ context.Context, set map[string]string) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	next, err := withOptions(siteOptions, *s.opts.Load(), "site "+s.cfg.Name, set)
	if err != nil {
		return err
	}
	err = s.db.update(func(tx *bolt.Tx) error {
		have, _, err := get[map[string]string](tx, bucketSite, siteOptionsKey)
		if err != nil {
			return err
		}
		have = mergeOptions(siteOptions, have, next, set)
		next, _ = stored(siteOptions, defaultSiteOptions(), have)
		return put(tx, bucketSite, siteOptionsKey, have)
	})
	if err != nil {
		return fault(KindInternal, err, "the options of the site cannot be stored")
	}
	s.useOptions(next)
	s.events.add(slog.LevelInfo, "site", "set: %s", setWords(set))
	return nil
}

// useOptions lets options of the site hold from now on.
func (s *Site) useOptions(o SiteOptions) {
	s.opts.Store(&o)
	s.slots.limit(o.Copies)
}

// loadOptions reads the options of the site.
func (s *Site) loadOptions() error {
	var have map[string]string
	err := s.db.db.View(func(tx *bolt.Tx) (err error) {
		have, _, err = get[map[string]string](tx, bucketSite, siteOptionsKey)
		return err
	})
	if err != nil {
		return err
	}
	o, unknown := stored(siteOptions, defaultSiteOptions(), have)
	s.useOptions(o)
	s.tellUnknown("site", unknown)
	return nil
}

// mergeOptions adds what was set to what is stored, in the words of the table, and takes away what was taken back.
func mergeOptions[T any](table []option[T], have map[string]string, next T, set map[string]string) map[string]string {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range set {
		if all[name] = find(table, name).get(&next); value == optionDefault {
			delete(all, name)
		}
	}
	return all
}

func (s *Site) tellUnknown(object string, unknown []string) {
	if len(unknown) > 0 {
		s.events.add(slog.LevelWarn, object, "options of another version are not used: %s", strings.Join(unknown, " "))
	}
}

// setWords writes what was set, as a command does.
func setWords(set map[string]string) string {
	names := slices.Sorted(maps.Keys(set))
	for i, n := range names {
		names[i] = fmt.Sprintf("%s=%s", n, set[n])
	}
	return strings.Join(names, " ")
}

// followPathWatch takes over the path watch time of the primary, if it handed one on; the next time if a command is under way.
func (g *group) followPathWatch() {
	if g.handed.Load() == 0 || !g.cmd.TryLock() {
		return
	}
	defer g.cmd.Unlock()
	d := time.Duration(g.handed.Swap(0))
	if d == 0 || d == g.opts.Load().PathWatch {
		return
	}
	text := timeWords(d)
	if err := g.set(map[string]string{"path-watch": text}); err != nil {
		g.site.events.add(slog.LevelWarn, g.object(), "the path watch time that %s hands on cannot be taken over: %v", g.rec.Peer, err)
		return
	}
	g.site.events.add(slog.LevelInfo, g.object(), "path watch time is %s, as %s hands it on", text, g.rec.Peer)
}
