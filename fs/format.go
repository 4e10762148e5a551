package fs

import (
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"pairfs/replica"
)

// lines builds the text of a control file, one "key: value" per line.
type lines struct{ strings.Builder }

// put appends one line.
func (l *lines) put(key, value string) {
	l.WriteString(key)
	l.WriteString(": ")
	l.WriteString(orDash(value))
	l.WriteByte('\n')
}

func (l *lines) num(key string, n int64)                { l.put(key, strconv.FormatInt(n, 10)) }
func (l *lines) known(key string, n int64)              { l.put(key, numberOr(n)) }
func (l *lines) count(key string, n uint64)             { l.put(key, strconv.FormatUint(n, 10)) }
func (l *lines) yes(key string, b bool)                 { l.put(key, yesNo(b)) }
func (l *lines) seconds(key string, d time.Duration)    { l.put(key, seconds(d)) }
func (l *lines) percent(key string, part, whole int64)  { l.put(key, percent(part, whole)) }
func (l *lines) time(key string, t time.Time)           { l.put(key, stamp(t)) }
func (l *lines) names(key string, names ...string)      { l.put(key, strings.Join(names, ",")) }
func (l *lines) command(word string, options ...string) { l.WriteString(join(word, options) + "\n") }

// orDash returns the value on one line, "-" if it is empty. What no line of text has, to a terminal an order perhaps, is a blank.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// numberOr writes a number, "" for what is not known: a negative one.
func numberOr(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// seconds writes a duration in seconds with three decimals.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// percent writes part of whole with one decimal, rounded down so that 100.0 means all; nothing of nothing is all.
func percent(part, whole int64) string {
	if whole <= 0 || part >= whole {
		return "100.0"
	}
	hi, lo := bits.Mul64(uint64(max(part, 0)), 1000) // in 128 bits: volumes may be large
	tenths, _ := bits.Div64(hi, lo, uint64(whole))
	return fmt.Sprintf("%d.%d", tenths/10, tenths%10)
}

// stamp writes a time in UTC with milliseconds, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// join writes a command.
func join(word string, options []string) string {
	return strings.Join(append([]string{word}, options...), " ")
}

// formatSite writes .ctl/site.
func formatSite(st *replica.SiteStatus) string {
	var l lines
	if len(st.Options) > 0 {
		l.command("set", st.Options...)
	}
	l.put("name", st.Name)
	l.put("fingerprint", st.Fingerprint)
	l.put("listen", st.Listen)
	l.put("state", st.State)
	l.put("version", st.Version)
	l.num("pid", int64(os.Getpid()))
	l.time("started", st.Started)
	l.num("memory-limit", st.MemoryLimit)
	l.num("memory-used", st.MemoryUsed)
	l.num("volumes", int64(len(st.Volumes)))
	l.num("pairs", int64(len(st.Pairs)))
	l.num("groups", int64(len(st.Groups)))
	l.num("peers", int64(len(st.Peers)))
	l.names("options", st.Options...)
	l.num("kept-sets", int64(st.KeptSets))
	l.num("kept-bytes", st.KeptBytes)
	return l.String()
}

// formatPair writes .ctl/PAIR. The command is given on the primary alone: written back on the secondary it would make the pair the
// other way round.
func formatPair(p *replica.PairStatus) string {
	var l lines
	if p.Role != replica.Secondary {
		l.command("create", append([]string{"volume=" + p.Volume, "peer=" + p.Peer, "remote=" + p.RemoteVolume, "group=" + p.Group, "copy=" + copyMode(p)}, p.Options...)...)
	} else if len(p.Options) > 0 {
		l.command("set", p.Options...)
	}
	l.put("name", p.Name)
	l.put("volume", p.Volume)
	l.put("remote-volume", p.RemoteVolume)
	l.put("peer", p.Peer)
	l.put("group", p.Group)
	l.put("role", p.Role.String())
	l.put("status", p.Status.On(p.Role))
	l.put("suspend-type", p.Suspend.String())
	l.put("peer-status", p.PeerStatus)
	l.seconds("split-left-seconds", p.SplitLeft)
	l.num("size", p.Size)
	l.count("generation", p.Generation)
	l.yes("consistent", p.Consistent)
	l.yes("linked", p.Linked)
	l.known("copied-bytes", p.Copied)
	l.put("copied-percent", copiedPercent(p))
	l.num("copy-left-bytes", p.CopyLeft)
	l.num("copy-rate", int64(p.CopyRate))
	l.seconds("eta-seconds", p.ETA)
	l.count("lag-records", p.LagSeq)
	l.known("lag-bytes", p.LagBytes)
	l.seconds("lag-seconds", p.LagTime)
	l.num("different-bytes", p.Different)
	l.yes("svol-write", p.SVOLWrite)
	l.count("suspend-seq", p.SuspendSeq)
	l.time("since", p.Since)
	l.names("options", p.Options...)
	l.put("last-error", p.LastError)
	l.pairUsageLines(&p.Usage)
	l.yes("lag-known", p.LagKnown)
	l.num("kept-sets", int64(p.KeptSets))
	l.num("kept-bytes", p.KeptBytes)
	l.lagLines(&p.Usage.LagTime, &p.Usage.LagBytes)
	l.yes("taken-over", p.TakenOver)
	l.count("taken-over-seq", p.TakenSeq)
	l.time("taken-over-time", p.TakenTime)
	l.yes("peer-unheard", p.PeerUnheard)
	l.put("suspend-reason", p.Why)
	return l.String()
}

// copiedPercent returns how much of a volume is equal or was copied, "" where only the other side knows.
func copiedPercent(p *replica.PairStatus) string {
	if p.Copied < 0 {
		return ""
	}
	return percent(p.Copied, p.Size)
}

// copyMode returns the value of copy= that made the pair.
func copyMode(p *replica.PairStatus) string {
	if p.CopyMode == "none" {
		return "none"
	}
	return "full"
}

// formatGroup writes .ctl/groups/GROUP. A restore group has no command: the peer's pairs make it.
func formatGroup(g *replica.GroupStatus) string {
	var l lines
	if g.Role != replica.Secondary {
		l.journalCommands(g)
	} else if len(g.Options) > 0 {
		l.command("set", g.Options...)
	}
	l.put("name", g.Name)
	l.put("role", g.Role.String())
	l.put("peer", g.Peer)
	l.put("peer-group", g.PeerGroup)
	l.put("mirror", g.Mirror)
	l.put("journal-status", g.Code)
	l.yes("linked", g.Linked)
	l.names("pairs", g.Pairs...)
	l.num("journal-volumes", int64(len(g.JournalVolumes)))
	for _, v := range g.JournalVolumes {
		l.put("journal-volume-"+strconv.Itoa(v.Number), fmt.Sprintf("%s size-bytes=%d used-bytes=%d", v.State, v.Size, v.Used))
	}
	l.num("capacity-bytes", g.Capacity)
	l.num("used-bytes", g.Used)
	l.percent("used-percent", g.Used, g.Capacity)
	l.yes("over-high-water-mark", g.Over)
	l.count("unrestored-records", g.Unrestored)
	l.time("heard", g.Heard)
	l.num("ring-bytes", g.RingSize)
	l.num("ring-used-bytes", g.RingUsed)
	l.count("appended", g.AppendedSeq)
	l.count("durable", g.DurableSeq)
	l.count("restored", g.RestoredSeq)
	l.count("peer-durable", g.PeerDurable)
	l.count("peer-restored", g.PeerRestored)
	l.count("sent-bytes", g.Sent)
	l.count("received-bytes", g.Received)
	l.count("saved-bytes", g.Saved)
	l.count("base-sent-bytes", g.BaseSent)
	l.count("waited-room", g.WaitedRoom)
	l.names("options", g.Options...)
	l.put("failed", g.Failed)
	l.put("store-error", g.StoreError)
	l.groupUsageLines(g)
	l.count("lag-records", g.LagSeq)
	l.known("lag-bytes", g.LagBytes)
	l.seconds("lag-seconds", g.LagTime)
	l.yes("lag-known", g.LagKnown)
	l.num("adding-bytes", g.Adding)
	return l.String()
}

// journalCommands writes the commands that make a group with the journal volumes that it has now: those of the first one's size with the
// group, each further one by a command of its own. A group that is not served knows those it was made with.
func (l *lines) journalCommands(g *replica.GroupStatus) {
	var sizes []int64
	for _, v := range g.JournalVolumes {
		if v.State != "leaving" {
			sizes = append(sizes, v.Size)
		}
	}
	if len(sizes) == 0 {
		sizes = slices.Repeat([]int64{g.VolumeSize}, g.Volumes)
	}
	alike := 0
	for alike < len(sizes) && sizes[alike] == sizes[0] {
		alike++
	}
	l.command("create", append([]string{"size=" + FormatSize(sizes[0]), "volumes=" + strconv.Itoa(alike)}, g.Options...)...)
	for _, size := range sizes[alike:] {
		l.command("add-volume", "size="+FormatSize(size))
	}
}

// formatPeer writes .ctl/peers/PEER.
func formatPeer(p *replica.PeerStatus) string {
	var l lines
	options := []string{"address=" + p.Address, "key=" + p.Fingerprint}
	if p.Quota > 0 {
		options = append(options, "create="+FormatSize(p.Quota))
	}
	l.command("add", options...)
	l.put("name", p.Name)
	l.put("address", p.Address)
	l.put("key", p.Fingerprint)
	l.yes("connected", p.Connected)
	l.time("since", p.Since)
	l.num("quota-bytes", p.Quota)
	l.num("quota-used-bytes", p.QuotaUsed)
	l.put("last-error", p.LastError)
	return l.String()
}

// formatVolume writes .ctl/volumes/VOLUME.
func formatVolume(v *replica.VolumeStatus) string {
	var l lines
	if v.Reserved != "" {
		l.command("reserve", "peer="+v.Reserved)
	}
	l.put("name", v.Name)
	l.num("size-bytes", v.Size)
	l.num("allocated-bytes", v.Allocated)
	l.put("role", v.Role.String())
	l.put("pair", v.Pair)
	l.put("reserved", v.Reserved)
	l.num("open", int64(v.Open))
	l.yes("writable", v.Writable)
	return l.String()
}

// formatPairs writes .ctl/pairs: one line for each pair.
func formatPairs(st *replica.SiteStatus) string {
	var b strings.Builder
	for i := range st.Pairs {
		p := &st.Pairs[i]
		fmt.Fprintf(&b, "%s role=%s status=%s volume=%s peer=%s group=%s copied-percent=%s lag-seconds=%s lag-bytes=%s suspend-type=%s lag-known=%s\n",
			p.Name, p.Role, p.Status.On(p.Role), orDash(p.Volume), orDash(p.Peer), orDash(p.Group), orDash(copiedPercent(p)),
			seconds(p.LagTime), orDash(numberOr(p.LagBytes)), quoted(p.Suspend.String()), yesNo(p.LagKnown))
	}
	return b.String()
}

// quoted returns a value as one word: in quotes if it has blanks.
func quoted(s string) string {
	if s = orDash(s); strings.ContainsAny(s, " \"") {
		return strconv.Quote(s)
	}
	return s
}

// formatEvent writes one line of .ctl/events: the code is a fifth word where there is one.
func formatEvent(e *replica.Event) string {
	object := strings.ReplaceAll(strings.Replace(orDash(e.Object), " ", "/", 1), " ", "_")
	if e.Code != "" {
		object += " " + e.Code
	}
	return fmt.Sprintf("%d %s %s %s: %s\n", e.ID, orDash(stamp(e.Time)), orDash(e.Level), object, orDash(e.Text))
}

// formatAnswer writes what the next read on the handle of a command returns; said is what a command that succeeded has to say.
func formatAnswer(said string, err error) string {
	switch {
	case err != nil:
		return "error: " + orDash(err.Error()) + "\n"
	case said != "":
		return "ok: " + orDash(said) + "\n"
	}
	return "ok\n"
}
