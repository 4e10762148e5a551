package replica

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// playCommands are the commands of scripts:
//
//	group [size=MIB] [OPTION=VALUE …]     make the group g of all pairs, at a
//	add-journal [a|b] / remove-journal N  a journal volume of 16 MiB more, or without the one of number N
//	volume NAME                           make a volume with some data at a
//	reserve NAME                          the same volume with the same data at b, set aside for a
//	create NAME [copy=none] [OPTION=…]    make a pair of the volume of that name, which is made if it is not there
//	write NAME [a|b] [n=COUNT] [mib=N]    writes of one block, or of 1 MiB each
//	suspend|resync|delete [a|b] [NAME]    of the pair, or of the group; suspend takes purge and svol-write, delete takes force
//	set [a|b] [NAME] [OPTION=VALUE …]     options of the pair, or of the group
//	await [a|b] NAME STATUS               wait for a status, on both sides if none is named
//	await [a|b] queue empty|some          wait until the S-VOLs have all records, or not all
//	await no-image NAME                   wait until the S-VOL is no image of one moment
//	await [a|b] stores                    wait until the stores take writes again
//	await [a|b] room                      wait until a record of the peer found no room
//	cut, heal                             the link
//	kill, open, close, restart [a|b]      kill is a power cut of the process, close a planned switching off
//	break [a|b] store NAME write|sync|read, break journal [a|b] write|sync, mend [a|b]
//	hold [a|b] restore|journal, go-on [a|b]
//	damage [a|b]                          turn a bit of the last record over, which must be an update
//	lose [a|b] journal                    of a closed site
//	silent [a|b] SECONDS                  the mirror has been down for so much longer
//	hurry                                 what is due after some seconds is due now: checkpoints, and that a asks b for its states. Before
//	                                      another command it goes on until that has ended
//	mark LABEL [a|b] [NAME] [split|at=LABEL]   place a marker of the pair, or of the group, and split there; or split at one
//	marker LABEL STATE [a|b]              wait until the marker is in the state on that side, or on both
//	check prefix|all [a|b] NAME …         the volumes are a prefix of what hosts wrote, or hold all of it
//	check equal|covered NAME …            equal: they become so; covered: every difference is marked
//	show [paths]                          both sides, once they agree about the pairs; paths has the codes of the link too
//	join                                  wait for the commands beside
var playCommands map[string]func(*playCall) string

func init() {
	playCommands = map[string]func(*playCall) string{
		"group": (*playCall).newGroup, "add-journal": (*playCall).addJournal, "remove-journal": (*playCall).removeJournal,
		"volume": (*playCall).volume, "reserve": (*playCall).reserve, "create": (*playCall).create, "write": (*playCall).write,
		"suspend": (*playCall).suspend, "resync": (*playCall).resync, "delete": (*playCall).deletePairs, "set": (*playCall).setOptions,
		"await": (*playCall).await, "cut": (*playCall).cut, "heal": (*playCall).heal,
		"kill": (*playCall).kill, "open": (*playCall).open, "close": (*playCall).closeSite, "restart": (*playCall).restart,
		"break": (*playCall).breakSome, "mend": (*playCall).mend, "hold": (*playCall).hold, "go-on": (*playCall).goOn,
		"damage": (*playCall).damage, "lose": (*playCall).lose, "silent": (*playCall).silent, "hurry": (*playCall).hurry,
		"mark": (*playCall).mark, "marker": (*playCall).marker,
		"check": (*playCall).check, "show": (*playCall).show, "join": (*playCall).join,
	}
}

func (c *playCall) newGroup() string {
	size := int64(journalMin)
	if mib := c.take("size"); mib != "" {
		n, err := strconv.ParseInt(mib, 10, 64)
		must(c.p.t, err)
		size = n << 20
	}
	return c.answer(c.at.site.CreateGroup(context.Background(), GroupSpec{Name: "g", Size: size, Options: c.set}))
}

func (c *playCall) addJournal() string {
	return c.answer(c.at.site.AddJournalVolume(context.Background(), c.group(), journalMin))
}

func (c *playCall) removeJournal() string {
	n, err := strconv.Atoi(c.word())
	must(c.p.t, err)
	return c.answer(c.at.site.RemoveJournalVolume(context.Background(), c.group(), n))
}

func (c *playCall) volume() string {
	p := c.p
	name := c.word()
	p.a.volume(name)
	p.w.names, p.s.names = append(p.w.names, name), append(p.s.names, name)
	must(p.t, p.w.write(context.Background(), len(p.w.names)-1, 100, 20, false))
	return ""
}

func (c *playCall) reserve() string {
	p, name := c.p, c.word()
	c.volume()
	v := p.b.volume(name)
	_, err := v.WriteAt(context.Background(), readAll(p.t, p.a.vol(name)), 0, true)
	must(p.t, err)
	return c.answer(p.b.site.ReserveVolume(context.Background(), name, "tokyo"))
}

func (c *playCall) create() string {
	name, none := c.word(), c.take("copy") == "none"
	if !slices.Contains(c.p.w.names, name) {
		c.volume()
	}
	if c.p.a.site.groupByName("g") == nil {
		c.p.t.Fatal("make the group first")
	}
	return c.answer(c.p.a.site.CreatePair(context.Background(), PairSpec{Name: name, Volume: name, Peer: "osaka", Group: "g", Options: c.set, CopyNone: none}))
}

func (c *playCall) write() string {
	p := c.p
	name, count, blocks := c.word(), int64(1), int64(1)
	for option, unit := range map[string]int64{"n": 1, "mib": 256} {
		if v := c.take(option); v != "" {
			n, err := strconv.ParseInt(v, 10, 64)
			must(p.t, err)
			count, blocks = n, unit
		}
	}
	w := map[*node]*writer{p.a: p.w, p.b: p.s}[c.at]
	for range count {
		p.mu.Lock()
		at := p.next[name]
		if at+blocks > duoSize/blockSize {
			at = 0
		}
		p.next[name] = at + blocks
		p.mu.Unlock()
		if err := w.write(p.t.Context(), slices.Index(w.names, name), at, blocks, false); err != nil {
			return c.answer(err)
		}
	}
	return ""
}

func (c *playCall) suspend() string {
	o := SuspendOptions{Purge: c.has("purge"), SVOLWrite: c.has("svol-write")}
	return c.onPairs(func(ctx context.Context, name string) error { return c.at.site.SuspendPair(ctx, name, o) },
		func(ctx context.Context, name string) error { return c.at.site.SuspendGroup(ctx, name, o) })
}

func (c *playCall) resync() string { return c.onPairs(c.at.site.ResyncPair, c.at.site.ResyncGroup) }

func (c *playCall) deletePairs() string {
	o := DeleteOptions{Force: c.has("force")}
	return c.onPairs(func(ctx context.Context, name string) error { return c.at.site.DeletePair(ctx, name, o) },
		func(ctx context.Context, name string) error { return c.at.site.DeleteGroup(ctx, name, o) })
}

func (c *playCall) setOptions() string {
	return c.onPairs(func(ctx context.Context, name string) error { return c.at.site.SetPair(ctx, name, c.set) },
		func(ctx context.Context, name string) error { return c.at.site.SetGroup(ctx, name, c.set) })
}

func (c *playCall) await() string {
	p := c.p
	switch c.words[0] {
	case "queue":
		p.wait("the queue is "+c.words[1], func() bool {
			p.checkpoint()
			return (c.at.groupStatus(c.group()).Unrestored == 0) == (c.words[1] == "empty")
		})
		return ""
	case "no-image":
		p.wait("the S-VOL is no image", func() bool { return !p.b.status(c.words[1]).Consistent })
		return ""
	case "stores":
		g := c.at.site.groupByName(c.group())
		p.wait("the stores take writes again", func() bool { return g.storeErr.Load() == nil })
		return ""
	case "room":
		p.wait("a record finds no room", func() bool { return c.at.groupStatus(c.group()).WaitedRoom > 0 })
		return ""
	}
	want, ok := ParseStatus(c.words[len(c.words)-1])
	if !ok {
		p.t.Fatalf("await: %q is no status", c.words)
	}
	names := c.words[:len(c.words)-1]
	if c.site {
		c.at.await(want, names...)
		return ""
	}
	p.a.awaitBoth(want, names...)
	p.wait("both sides agree", p.agree)
	return ""
}

func (c *playCall) cut() string {
	c.p.dark = true
	c.p.duo.cut()
	return ""
}

func (c *playCall) heal() string {
	c.p.dark = false
	c.p.duo.heal()
	c.p.wait("the link is up", c.p.a.linked)
	return ""
}

// kill kills the daemon. What was held up of its restores goes on at that moment, for what waits there has to end with it.
func (c *playCall) kill() string {
	f := c.p.faults[c.at]
	c.at.crash(func() { f.letGoOf("restore") })
	c.p.codes[c.at] = 0
	return ""
}

func (c *playCall) open() string { c.at.open(); return "" }

func (c *playCall) closeSite() string {
	c.p.close(c.at)
	c.p.codes[c.at] = 0
	return ""
}

func (c *playCall) restart() string { c.closeSite(); return c.open() }

func (c *playCall) breakSome() string {
	f := c.p.faults[c.at]
	switch c.words[0] {
	case "store":
		f.breakStore(c.words[1], c.words[2])
	case "journal":
		f.breakJournal(c.words[1])
	default:
		c.p.t.Fatalf("break: %q", c.words)
	}
	return ""
}

func (c *playCall) mend() string {
	c.p.faults[c.at].mend()
	c.at.site.groupByName(c.group()).kickRestore()
	return ""
}

func (c *playCall) hold() string {
	f := c.p.faults[c.at]
	switch what := c.word(); what {
	case "restore":
		f.hold(what, c.at.site.groupByName(c.group()).stopRestore())
	case "journal":
		f.hold(what, f.disk.holdUp())
	default:
		c.p.t.Fatalf("hold: %q", what)
	}
	return ""
}

func (c *playCall) goOn() string { c.p.faults[c.at].letGo(); return "" }

func (c *playCall) damage() string {
	g := c.at.site.groupByName(c.group())
	last := c.p.a.groupStatus("g").AppendedSeq
	c.p.wait("the record is there", func() bool { return uint64(g.journal.Marks().DurableSeq) >= last })
	lastPayload(c.p.t, g)[1000] ^= 4
	return ""
}

func (c *playCall) lose() string {
	must(c.p.t, os.RemoveAll(filepath.Join(c.at.cfg.StateDir, "journals", c.group())))
	return ""
}

func (c *playCall) silent() string {
	n, err := strconv.Atoi(c.word())
	must(c.p.t, err)
	g := c.at.site.groupByName(c.group())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.linkChange = g.linkChange.Add(-time.Duration(n) * time.Second)
	return ""
}

func (c *playCall) hurry() string {
	c.p.checkpoint()
	if c.p.a.site == nil {
		return ""
	}
	g := c.p.a.site.groupByName("g")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = time.Time{}
	return ""
}

// checkpoint lets both sites make one soon.
func (p *play) checkpoint() {
	for _, n := range []*node{p.a, p.b} {
		if n.site == nil {
			continue
		}
		if g := n.site.groupByName(p.groupAt(n)); g != nil {
			g.kickCheckpoint()
		}
	}
}

func (c *playCall) join() string {
	c.p.beside.Wait()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	said := strings.Join(c.p.said, "\n")
	c.p.said = nil
	return said
}

func (c *playCall) check() string {
	p, what, names := c.p, c.words[0], c.words[1:]
	switch what {
	case "prefix", "all":
		images := map[int][]byte{}
		for _, name := range names {
			images[slices.Index(p.w.names, name)] = readAll(p.t, c.at.vol(name))
		}
		need := map[string]atLeast{"prefix": whatever, "all": everyAck}[what]
		if err := p.w.h.check(images, need); err != nil {
			p.dump()
			p.t.Fatalf("check %s: %v", what, err)
		}
	case "equal":
		p.wait("the volumes are equal", func() bool {
			return !slices.ContainsFunc(names, func(name string) bool { return !bytes.Equal(readAll(p.t, p.a.vol(name)), readAll(p.t, p.b.vol(name))) })
		})
	case "covered":
		p.wantCovered(names...)
	default:
		p.t.Fatalf("check: %q", what)
	}
	return ""
}
