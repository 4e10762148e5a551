package fs

import (
	"fmt"
	"strconv"
	"strings"

	"pairfs/replica"
)

// pairStatusWords are the statuses that a pair can show, each a value of the label "status".
var pairStatusWords = []string{"COPY", "PAIR", "PFUL", "PFUS", "PSUS", "SSUS", "PSUE", "SSWS", "SMPL", "Suspending", "Deleting"}

// metrics builds the Prometheus text form.
type metrics struct{ strings.Builder }

// family begins a family of samples.
func (m *metrics) family(name, kind, help string) {
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample appends one sample; labels are pairs of name and value.
func (m *metrics) sample(name string, value float64, labels ...string) {
	m.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		m.WriteByte("{,"[min(i, 1)])
		m.WriteString(labels[i] + `="` + labelEscaper.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		m.WriteByte('}')
	}
	m.WriteByte(' ')
	m.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	m.WriteByte('\n')
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// formatMetrics writes .ctl/metrics.
func formatMetrics(st *replica.SiteStatus, p processFigures) string {
	var m metrics
	m.process(p)
	m.site(st)
	m.pairs(st.Pairs)
	m.groups(st.Groups)
	m.peers(st.Peers)
	m.groupUsage(st.Groups)
	m.pairUsage(st.Pairs)
	return m.String()
}

func (m *metrics) site(st *replica.SiteStatus) {
	m.family("pairfs_info", "gauge", "The site and its version.")
	m.sample("pairfs_info", 1, "site", st.Name, "version", st.Version)
	m.family("pairfs_start_time_seconds", "gauge", "When the daemon started, in seconds since 1970.")
	m.sample("pairfs_start_time_seconds", float64(st.Started.UnixMilli())/1000)
	m.family("pairfs_memory_limit_bytes", "gauge", "The bound of rings and buffers.")
	m.sample("pairfs_memory_limit_bytes", float64(st.MemoryLimit))
	m.family("pairfs_memory_used_bytes", "gauge", "What rings and buffers may hold now.")
	m.sample("pairfs_memory_used_bytes", float64(st.MemoryUsed))
	m.family("pairfs_volumes", "gauge", "Volumes of the site.")
	m.sample("pairfs_volumes", float64(len(st.Volumes)))
	m.family("pairfs_kept_sets", "gauge", "Sets of regions that were kept aside before a resync overwrote them.")
	m.sample("pairfs_kept_sets", float64(st.KeptSets))
	m.family("pairfs_kept_bytes", "gauge", "Bytes that kept sets take on their file system.")
	m.sample("pairfs_kept_bytes", float64(st.KeptBytes))
}

func (m *metrics) pairs(list []replica.PairStatus) {
	m.family("pairfs_pair_status", "gauge", "1 for the status that the pair has, 0 for the others.")
	for i := range list {
		for _, word := range pairStatusWords {
			m.sample("pairfs_pair_status", oneIf(list[i].Status.On(list[i].Role) == word), "pair", list[i].Name, "status", word)
		}
	}
	for _, f := range []struct {
		name, help string
		value      func(p *replica.PairStatus) float64
	}{
		{"pairfs_pair_linked", "Whether the mirror is connected.", func(p *replica.PairStatus) float64 { return oneIf(p.Linked) }},
		{"pairfs_pair_consistent", "Whether the S-VOL is an image of one moment.",
			func(p *replica.PairStatus) float64 { return oneIf(p.Consistent) }},
		{"pairfs_pair_size_bytes", "Size of the volume.", func(p *replica.PairStatus) float64 { return float64(p.Size) }},
		{"pairfs_pair_copied_bytes", "Bytes that are equal or were copied; not given where only the primary knows.", func(p *replica.PairStatus) float64 { return float64(p.Copied) }},
		{"pairfs_pair_different_bytes", "Bytes marked as different.", func(p *replica.PairStatus) float64 { return float64(p.Different) }},
		{"pairfs_pair_taken_over", "Whether the S-VOL was taken over and that is not settled.", func(p *replica.PairStatus) float64 { return oneIf(p.TakenOver) }},
		{"pairfs_pair_peer_unheard", "Whether a primary has not heard its peer since the site was started: a takeover there cannot be ruled out.",
			func(p *replica.PairStatus) float64 { return oneIf(p.PeerUnheard) }},
		{"pairfs_pair_lag_known", "Whether the lag is known: not at an S-VOL without a mirror, where lag_seconds is how long ago the primary was heard.",
			func(p *replica.PairStatus) float64 { return oneIf(p.LagKnown) }},
		{"pairfs_pair_lag_seconds", "Age of the oldest record of the pair that the peer does not hold.",
			func(p *replica.PairStatus) float64 { return p.LagTime.Seconds() }},
		{"pairfs_pair_lag_bytes", "Journal bytes of the pair that the peer does not hold; not given where that is not known.", func(p *replica.PairStatus) float64 { return float64(p.LagBytes) }},
		{"pairfs_pair_lag_records", "Records of the group that the peer does not hold, 0 if none is of the pair.", func(p *replica.PairStatus) float64 { return float64(p.LagSeq) }},
	} {
		m.family(f.name, "gauge", f.help)
		for i := range list {
			if v := f.value(&list[i]); v >= 0 { // below is what is not known
				m.sample(f.name, v, "pair", list[i].Name)
			}
		}
	}
}

func (m *metrics) groups(list []replica.GroupStatus) {
	for _, f := range []struct {
		name, kind, help string
		value            func(g *replica.GroupStatus) float64
	}{
		{"pairfs_journal_capacity_bytes", "gauge", "Bytes of the journal.", func(g *replica.GroupStatus) float64 { return float64(g.Capacity) }},
		{"pairfs_journal_used_bytes", "gauge", "Bytes of the journal not yet freed.", func(g *replica.GroupStatus) float64 { return float64(g.Used) }},
		{"pairfs_journal_failed", "gauge", "Whether the journal failed.", func(g *replica.GroupStatus) float64 { return oneIf(g.Failed != "") }},
		{"pairfs_ring_bytes", "gauge", "Size of the staging ring.", func(g *replica.GroupStatus) float64 { return float64(g.RingSize) }},
		{"pairfs_ring_used_bytes", "gauge", "Bytes in use of the staging ring.", func(g *replica.GroupStatus) float64 { return float64(g.RingUsed) }},
		{"pairfs_group_linked", "gauge", "Whether the mirror is connected.", func(g *replica.GroupStatus) float64 { return oneIf(g.Linked) }},
		{"pairfs_group_appended_seq", "gauge", "Newest sequence number.", func(g *replica.GroupStatus) float64 { return float64(g.AppendedSeq) }},
		{"pairfs_group_durable_seq", "gauge", "Newest durable sequence number.", func(g *replica.GroupStatus) float64 { return float64(g.DurableSeq) }},
		{"pairfs_group_restored_seq", "gauge", "Newest restored sequence number.", func(g *replica.GroupStatus) float64 { return float64(g.RestoredSeq) }},
		{"pairfs_group_sent_bytes_total", "counter", "Bytes of records sent.", func(g *replica.GroupStatus) float64 { return float64(g.Sent) }},
		{"pairfs_group_received_bytes_total", "counter", "Bytes of records received.",
			func(g *replica.GroupStatus) float64 { return float64(g.Received) }},
		{"pairfs_group_saved_bytes_total", "counter", "Bytes of records sent and received that did not go over the link, because they were packed.",
			func(g *replica.GroupStatus) float64 { return float64(g.Saved) }},
		{"pairfs_group_base_sent_bytes_total", "counter", "Bytes of base records sent.",
			func(g *replica.GroupStatus) float64 { return float64(g.BaseSent) }},
		{"pairfs_group_waited_room_total", "counter", "Host writes that waited for room.",
			func(g *replica.GroupStatus) float64 { return float64(g.WaitedRoom) }},
		{"pairfs_group_lag_known", "gauge", "Whether the lag is known: not at a secondary without a mirror.", func(g *replica.GroupStatus) float64 { return oneIf(g.LagKnown) }},
		{"pairfs_group_lag_seconds", "gauge", "Age of the oldest record that the peer does not hold; how long ago the primary was heard where the lag is not known.",
			func(g *replica.GroupStatus) float64 { return g.LagTime.Seconds() }},
		{"pairfs_group_lag_bytes", "gauge", "Journal bytes that the peer does not hold; not given where that is not known.", func(g *replica.GroupStatus) float64 { return float64(g.LagBytes) }},
		{"pairfs_group_lag_records", "gauge", "Records that the peer does not hold.", func(g *replica.GroupStatus) float64 { return float64(g.LagSeq) }},
	} {
		m.family(f.name, f.kind, f.help)
		for i := range list {
			if v := f.value(&list[i]); v >= 0 { // below is what is not known
				m.sample(f.name, v, "group", list[i].Name)
			}
		}
	}
}

func (m *metrics) peers(list []replica.PeerStatus) {
	m.family("pairfs_peer_connected", "gauge", "Whether the peer is connected.")
	for i := range list {
		m.sample("pairfs_peer_connected", oneIf(list[i].Connected), "peer", list[i].Name)
	}
	m.family("pairfs_peer_quota_bytes", "gauge", "Bytes of S-VOLs that the peer may make here.")
	for i := range list {
		m.sample("pairfs_peer_quota_bytes", float64(list[i].Quota), "peer", list[i].Name)
	}
	m.family("pairfs_peer_quota_used_bytes", "gauge", "Bytes of S-VOLs that the peer has made here.")
	for i := range list {
		m.sample("pairfs_peer_quota_used_bytes", float64(list[i].QuotaUsed), "peer", list[i].Name)
	}
}
