package replica

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// What a site did is written down in its state directory, each thing once:
//
//   - audit has every command that came by a control file, refused ones too, with who asked; each line is on the disk before the command
//     returns, for commands are rare. Lines of another kind never push them out.
//   - history has every status that a pair came to, and who or what is behind it. A goroutine of its own writes it, so no status change waits
//     for the disk; what it had not written when the daemon was killed, some milliseconds' worth, is in the statuses themselves.
//
// [Site.History] is both, in the order of their times.

// historyQueue is how many status changes may wait to be written: more than a group has pairs, so that the split of a whole group fits.
const historyQueue = 2 * pairsGroup

// historian writes the history of a site.
type historian struct {
	audit, history *ledger
	queue          chan historyItem
	lost           chan struct{} // holds a token while an entry was lost that nobody was told of
	done           chan struct{} // closed when the writer has ended
}

// historyItem is an entry, or the wish to know when everything before it is written.
type historyItem struct {
	entry   Entry
	written chan struct{} // closed then; nil for an entry
}

// openHistory opens both ledgers and starts the writer.
func (s *Site) openHistory() error {
	h := &historian{queue: make(chan historyItem, historyQueue), lost: make(chan struct{}, 1), done: make(chan struct{})}
	var err error
	if h.audit, err = openLedger(s.cfg.StateDir, "audit", true); err != nil {
		return err
	}
	if h.history, err = openLedger(s.cfg.StateDir, "history", false); err != nil {
		return errors.Join(err, h.audit.close())
	}
	s.past = h
	s.wg.Go(s.writeHistory)
	return nil
}

// writeHistory writes what is queued until the site ends, and then what is left.
func (s *Site) writeHistory() {
	defer close(s.past.done)
	for {
		select {
		case i := <-s.past.queue:
			s.writeItem(i)
			continue
		case <-s.ctx.Done():
		}
		for {
			select {
			case i := <-s.past.queue:
				s.writeItem(i)
				continue
			default:
			}
			return
		}
	}
}

func (s *Site) writeItem(i historyItem) {
	if i.written != nil {
		close(i.written)
		return
	}
	s.ledgerTrouble("history", s.past.history.append(&i.entry))
	select {
	case <-s.past.lost:
		s.ledgerTrouble("history", errors.New("status changes came faster than they could be written; some are missing"))
	default:
	}
}

// ledgerTrouble says once a minute that something could not be written down. It changes nothing else: the command or status stands.
func (s *Site) ledgerTrouble(name string, err error) {
	if err != nil && s.firstIn(time.Minute, "ledger "+name) {
		s.events.add(slog.LevelError, "site", "%s in the state directory is not complete: %v; make room or mend the disk", name, err)
	}
}

// closeHistory waits for the writer, which ends with the context of the site, and closes the ledgers.
func (s *Site) closeHistory() error {
	if s.past == nil {
		return nil
	}
	<-s.past.done
	return errors.Join(s.past.audit.close(), s.past.history.close())
}

// remember queues a status for the history. It may be called with any lock held and never waits.
func (h *historian) remember(e Entry) {
	e.Kind = EntryStatus
	select {
	case h.queue <- historyItem{entry: e}:
	default:
		select {
		case h.lost <- struct{}{}:
		default:
		}
	}
}

// noteStatus puts the status of a pair into the history.
func (g *group) noteStatus(p *pair, st PairState, c change) {
	e := Entry{Caller: asker(st.Role, c, g.peerName()), Object: p.object(), Group: g.name, What: st.Status.On(st.Role), Code: simCode(st, c.in), Text: c.text, Time: g.site.wall()}
	if st.Suspend != NoSuspend {
		e.Result = st.Suspend.String()
	}
	g.site.past.remember(e)
}

// peerName is the name of the peer of the group's mirror, "" if there is none.
func (g *group) peerName() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rec.Peer
}

// Audit writes a command into the audit log: e has the caller, the object, the command without keys, and its result. Time and kind are set
// here. It returns when the line is on the disk, or when an event says why it is not.
func (s *Site) Audit(e Entry) {
	e.Time, e.Kind = s.wall(), EntryCommand
	s.ledgerTrouble("audit", s.past.audit.append(&e))
}

// GroupOf returns the group of an object as events name it ("pair/pair0", "group/g"), "" if it has none now.
func (s *Site) GroupOf(object string) string {
	if name, ok := strings.CutPrefix(object, "group/"); ok {
		return name
	}
	name, ok := strings.CutPrefix(object, "pair/")
	if p := s.pairByName(name); ok && p != nil {
		return p.group.name
	}
	return ""
}

// Knows reports whether there is such an object, as events name it: "pair/pair0", "group/g", "peer/osaka", "volume/db". It takes no picture of
// the site, which a site with hundreds of pairs needs some milliseconds for.
func (s *Site) Knows(object string) bool {
	sort, name, _ := strings.Cut(object, "/")
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch sort {
	case "pair":
		return s.pairs[name] != nil
	case "group":
		return s.groups[name] != nil
	case "peer":
		return s.peers[name] != nil
	case "volume":
		return s.volumes[name] != nil
	}
	return false
}

// History returns the commands and status changes that are remembered, oldest first: everything that happened before the call.
func (s *Site) History(ctx context.Context) ([]Entry, error) {
	done := historyItem{written: make(chan struct{})}
	select {
	case s.past.queue <- done:
		select {
		case <-done.written:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case <-s.ctx.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	commands, err := s.past.audit.entries()
	if err != nil {
		return nil, err
	}
	all, err := s.past.history.entries()
	if err != nil {
		return nil, err
	}
	return inTime(commands, all), nil
}

// inTime puts two ledgers together by the wall clock. Each keeps its own order, which the clock does not tell where it was set back.
func inTime(a, b []Entry) []Entry {
	all := make([]Entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].Time.Before(a[0].Time) {
			all, b = append(all, b[0]), b[1:]
		} else {
			all, a = append(all, a[0]), a[1:]
		}
	}
	return append(append(all, a...), b...)
}
