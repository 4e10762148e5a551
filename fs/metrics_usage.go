package fs

import (
	"strconv"
	"time"

	"pairfs/replica"
)

// groupUsage appends what groups did lately. Rates are means of the last minute, quantiles are of the last five.
func (m *metrics) groupUsage(list []replica.GroupStatus) {
	for _, f := range []struct {
		name, kind, help string
		value            func(u *replica.Usage) float64
	}{
		{"pairfs_group_host_writes_per_second", "gauge", "Host writes to the volumes of the group.", func(u *replica.Usage) float64 { return u.HostWrites }},
		{"pairfs_group_host_write_bytes_per_second", "gauge", "Bytes of host writes.", func(u *replica.Usage) float64 { return u.HostBytes }},
		{"pairfs_group_copy_bytes_per_second", "gauge", "Bytes that copies brought into step.", func(u *replica.Usage) float64 { return u.CopyRate }},
		{"pairfs_group_restore_bytes_per_second", "gauge", "Bytes written to the stores.", func(u *replica.Usage) float64 { return u.RestoreRate }},
		{"pairfs_group_read_journal_per_second", "gauge", "Read-journal requests.", func(u *replica.Usage) float64 { return u.Requests }},
		{"pairfs_group_mirror_bytes_per_second", "gauge", "Bytes of records sent or received.", func(u *replica.Usage) float64 { return u.Carried }},
		{"pairfs_group_response_seconds", "gauge", "Mean response time of read-journal.", func(u *replica.Usage) float64 { return u.Reply.Seconds() }},
		{"pairfs_group_response_max_seconds", "gauge", "Longest response time of read-journal.", func(u *replica.Usage) float64 { return u.ReplyMax.Seconds() }},
		{"pairfs_group_responses_total", "counter", "Response times measured.", func(u *replica.Usage) float64 { return float64(u.Replies) }},
		{"pairfs_journal_header_bytes", "gauge", "Bytes of the journal in use that are headers.", func(u *replica.Usage) float64 { return float64(u.HeaderBytes) }},
		{"pairfs_group_different_bytes", "gauge", "Bytes marked as different.", func(u *replica.Usage) float64 { return float64(u.Different) }},
		{"pairfs_group_reconnects_total", "counter", "How often the mirror came up again.", func(u *replica.Usage) float64 { return float64(u.Reconnects) }},
		{"pairfs_group_paths", "gauge", "Connections over which the batches of the mirror go.", func(u *replica.Usage) float64 { return float64(u.Paths) }},
		{"pairfs_group_checksum_errors_total", "counter", "Wrong checksums.", func(u *replica.Usage) float64 { return float64(u.BadChecksums) }},
	} {
		m.family(f.name, f.kind, f.help)
		for i := range list {
			m.sample(f.name, f.value(&list[i].Usage), "group", list[i].Name)
		}
	}
	m.family("pairfs_group_lag_quantile_seconds", "gauge", "Quantiles of the lag; 1 is the largest.")
	for i := range list {
		l := &list[i].Usage.LagTime
		m.quantiles("pairfs_group_lag_quantile_seconds", "group", list[i].Name, l.P50.Seconds(), l.P99.Seconds(), l.Max.Seconds())
	}
	m.family("pairfs_group_lag_quantile_bytes", "gauge", "Quantiles of the lag in journal bytes; 1 is the largest.")
	for i := range list {
		l := &list[i].Usage.LagBytes
		m.quantiles("pairfs_group_lag_quantile_bytes", "group", list[i].Name, float64(l.P50), float64(l.P99), float64(l.Max))
	}
}

// quantiles appends the three samples of one object of a kind.
func (m *metrics) quantiles(name, kind, object string, p50, p99, most float64) {
	m.sample(name, p50, kind, object, "quantile", "0.5")
	m.sample(name, p99, kind, object, "quantile", "0.99")
	m.sample(name, most, kind, object, "quantile", "1")
}

// pairUsage appends what pairs did lately.
func (m *metrics) pairUsage(list []replica.PairStatus) {
	for _, f := range []struct {
		name, help string
		value      func(u *replica.PairUsage) float64
	}{
		{"pairfs_pair_host_writes_per_second", "Host writes to the volume.", func(u *replica.PairUsage) float64 { return u.HostWrites }},
		{"pairfs_pair_host_write_bytes_per_second", "Bytes of host writes.", func(u *replica.PairUsage) float64 { return u.HostBytes }},
		{"pairfs_pair_copy_bytes_per_second", "Bytes that the copy brought into step.", func(u *replica.PairUsage) float64 { return u.CopyRate }},
	} {
		m.family(f.name, "gauge", f.help)
		for i := range list {
			m.sample(f.name, f.value(&list[i].Usage), "pair", list[i].Name)
		}
	}
	m.family("pairfs_pair_lag_quantile_seconds", "gauge", "Quantiles of the lag; 1 is the largest.")
	for i := range list {
		l := &list[i].Usage.LagTime
		m.quantiles("pairfs_pair_lag_quantile_seconds", "pair", list[i].Name, l.P50.Seconds(), l.P99.Seconds(), l.Max.Seconds())
	}
	m.family("pairfs_pair_lag_quantile_bytes", "gauge", "Quantiles of the lag in journal bytes; 1 is the largest.")
	for i := range list {
		l := &list[i].Usage.LagBytes
		m.quantiles("pairfs_pair_lag_quantile_bytes", "pair", list[i].Name, float64(l.P50), float64(l.P99), float64(l.Max))
	}
}

// Metrics returns what .ctl/metrics shows of a site, in the text form of Prometheus. It may be called from any goroutine.
func Metrics(site *replica.Site) string {
	st := site.Status()
	return formatMetrics(&st, lookAtProcess())
}

// groupUsageLines appends what a group did lately to its state.
func (l *lines) groupUsageLines(g *replica.GroupStatus) {
	u := &g.Usage
	l.seconds("window-seconds", u.Window)
	l.rate("host-write-rate", u.HostWrites)
	l.rate("host-byte-rate", u.HostBytes)
	l.rate("copy-byte-rate", u.CopyRate)
	l.rate("restore-byte-rate", u.RestoreRate)
	l.rate("read-journal-rate", u.Requests)
	l.rate("mirror-byte-rate", u.Carried)
	l.num("paths", int64(u.Paths))
	l.put("response-seconds", fine(u.Reply))
	l.put("response-max-seconds", fine(u.ReplyMax))
	l.lagLines(&u.LagTime, &u.LagBytes)
	l.num("header-bytes", u.HeaderBytes)
	l.percent("header-percent", min(u.HeaderBytes, g.Capacity), max(g.Capacity, 1))
	l.num("different-bytes", u.Different)
	l.count("reconnects", u.Reconnects)
	l.count("checksum-errors", u.BadChecksums)
}

// lagLines appends the quantiles of a lag.
func (l *lines) lagLines(t *replica.LagTimes, b *replica.LagBytes) {
	l.put("lag-p50-seconds", fine(t.P50))
	l.put("lag-p99-seconds", fine(t.P99))
	l.put("lag-max-seconds", fine(t.Max))
	l.num("lag-p50-bytes", b.P50)
	l.num("lag-p99-bytes", b.P99)
	l.num("lag-max-bytes", b.Max)
}

// pairUsageLines appends what a pair did lately to its state.
func (l *lines) pairUsageLines(u *replica.PairUsage) {
	l.rate("host-write-rate", u.HostWrites)
	l.rate("host-byte-rate", u.HostBytes)
	l.rate("copy-byte-rate", u.CopyRate)
}

// rate appends a number per second with one decimal.
func (l *lines) rate(key string, v float64) { l.put(key, strconv.FormatFloat(v, 'f', 1, 64)) }

// fine writes a duration in seconds with six decimals: a response may take less than a millisecond.
func fine(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
