package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e"
)

// sections measures what is no job on a file, in this order: the last ones end daemons and exchange roles.
func (b *benchmark) sections(want *regexp.Regexp) error {
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"idle", b.idle}, {"copy", b.copies}, {"resync", b.resyncs}, {"records", b.records}, {"lag", b.lags}, {"restart", b.restart}, {"takeover", b.takeovers},
	} {
		if !want.MatchString(s.name) {
			continue
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, site := range []*e2e.Site{b.tokyo, b.osaka} {
			f := footprintOf(site)
			b.say(figure{Section: s.name, Name: "memory of " + site.Name, Value: float64(f.Resident) / (1 << 20), Unit: "MiB"})
			b.say(figure{Section: s.name, Name: "goroutines of " + site.Name, Value: float64(f.Goroutines), Unit: ""})
		}
	}
	return nil
}

// idle measures what a pair costs to which nobody writes, and one whose link is down.
func (b *benchmark) idle() error {
	for _, x := range []struct {
		name string
		site *e2e.Site
	}{{"a pair at the primary, another one's link down", b.tokyo}, {"a pair at the secondary", b.osaka}} {
		pids := []int{x.site.Pid()}
		before, began := processor(pids), time.Now()
		time.Sleep(max(5*b.plan.length, 5*time.Second)) // what is measured is time in which nothing happens
		b.say(figure{Section: "idle", Name: x.name, Value: 100 * (processor(pids) - before).Seconds() / time.Since(began).Seconds(), Unit: "% of a core"})
	}
	return nil
}

// copies measures initial copies, beside bare streams of the same bytes.
func (b *benchmark) copies() error {
	size := b.plan.bulk
	b.fill(b.tokyo.Path("bulk"), size)
	quic, quicCPU, err := b.streamed("quic", b.tokyo.Path("bulk"))
	if err != nil {
		return err
	}
	tls, tlsCPU, err := b.streamed("tls", b.tokyo.Path("bulk"))
	if err != nil {
		return err
	}
	bare := mibps(size, quic)
	b.say(figure{Section: "copy", Name: "bare quic-go stream", Value: bare, Unit: "MiB/s"})
	b.sayCPU("bare quic-go stream", quicCPU, size)
	b.say(figure{Section: "copy", Name: "TLS over TCP", Value: mibps(size, tls), Unit: "MiB/s", Ratio: mibps(size, tls) / bare, Against: "quic-go"})
	b.sayCPU("TLS over TCP", tlsCPU, size)
	if err := b.bulkGroup(); err != nil {
		return err
	}
	if err := b.still(); err != nil {
		return err
	}
	pids := []int{b.tokyo.Pid(), b.osaka.Pid()}
	before, disk := processor(pids), b.written()
	took, wire := b.copyOf("bulk")
	cpu := processor(pids) - before
	if err := b.still(); err != nil {
		return err
	}
	disk = b.written().since(disk)
	b.say(figure{Section: "copy", Name: "initial copy of random data", Value: mibps(size, took), Unit: "MiB/s", Ratio: mibps(size, took) / bare, Against: "quic-go"})
	b.sayCPU("initial copy of random data", cpu, size)
	b.say(figure{Section: "copy", Name: "bytes sent for each byte", Value: float64(wire) / float64(size), Unit: ""})
	b.say(figure{Section: "copy", Name: "bytes written to the disk for each byte", Value: disk.bytes / float64(size), Unit: ""})
	if err := b.emptyCopies(size); err != nil {
		return err
	}
	return nil
}

// sayCPU keeps what moving size bytes cost.
func (b *benchmark) sayCPU(name string, cpu time.Duration, size int64) {
	b.say(figure{Section: "copy", Name: name + ", processor time of both ends", Value: cpu.Seconds() / float64(size) * 1e9, Unit: "s/GB"})
}

// bulkGroup makes the group of copies, with a pair that is as good as empty: both sites have made their journals then, which a copy need not pay.
func (b *benchmark) bulkGroup() error {
	b.tokyo.Do("groups/bulk", fmt.Sprintf("create size=%d copy-pace=high", b.plan.journal))
	if err := os.WriteFile(b.tokyo.Path("first"), make([]byte, 4096), 0o600); err != nil {
		return err
	}
	b.copyOf("first")
	return nil
}

// emptyCopies copies a volume without data, and one of zeroes that were written.
func (b *benchmark) emptyCopies(size int64) error {
	for _, name := range []string{"sparse", "zeroes"} {
		path := b.tokyo.Path(name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		err = f.Truncate(size)
		f.Close()
		if err != nil {
			return err
		}
		if name == "zeroes" {
			if _, err := command(b.r.ctx, "fio", "--name=zeroes", "--filename="+path, "--rw=write", "--bs=1m", "--direct=1", "--zero_buffers", fmt.Sprintf("--size=%d", size)); err != nil {
				return err
			}
		}
		took, wire := b.copyOf(name)
		b.say(figure{Section: "copy", Name: "initial copy, " + name, Value: mibps(size, took), Unit: "MiB/s"})
		b.say(figure{Section: "copy", Name: "bytes sent, " + name, Value: float64(wire), Unit: "bytes"})
		b.tokyo.Do(name, "delete")
		e2e.Until(b.r, drainLimit, "the pair is gone", func() bool { return b.tokyo.Status(name) == gone && b.osaka.Status(name) == gone })
	}
	return nil
}

// copyOf makes a pair in group bulk, and returns how long it took to PAIR and what was sent for it.
func (b *benchmark) copyOf(volume string) (took time.Duration, wire int64) {
	sent := b.tokyo.Int("groups/bulk", "sent-bytes")
	began := time.Now()
	b.tokyo.Do(volume, fmt.Sprintf("create volume=%s peer=osaka group=bulk", volume))
	b.tokyo.Wait(volume, 10*time.Minute, "PAIR")
	return time.Since(began), b.tokyo.Int("groups/bulk", "sent-bytes") - sent
}

// resyncs measures update copies of one, ten and fifty percent of a volume.
func (b *benchmark) resyncs() error {
	if b.tokyo.Status("bulk") == gone {
		b.fill(b.tokyo.Path("bulk"), b.plan.bulk)
		if err := b.bulkGroup(); err != nil {
			return err
		}
		b.copyOf("bulk")
	}
	const region = 64 << 10
	size := b.plan.bulk / 2
	for _, percent := range []int64{1, 10, 50} {
		b.tokyo.Do("bulk", "suspend")
		b.osaka.Wait("bulk", drainLimit, "SSUS")
		dirty, err := dirtyRegions(b.tokyo.Path("bulk"), size/region, percent, region)
		if err != nil {
			return err
		}
		sent := b.tokyo.Int("groups/bulk", "sent-bytes")
		began := time.Now()
		b.tokyo.Do("bulk", "resync")
		b.tokyo.Wait("bulk", 10*time.Minute, "PAIR")
		took, wire := time.Since(began), b.tokyo.Int("groups/bulk", "sent-bytes")-sent
		name := fmt.Sprintf("%d %% of %d MiB", percent, size>>20)
		b.say(figure{Section: "resync", Name: name, Value: took.Seconds(), Unit: "s"})
		b.say(figure{Section: "resync", Name: name + ", bytes sent", Value: float64(wire), Unit: "bytes", Ratio: float64(wire) / float64(dirty), Against: "what changed"})
	}
	return nil
}

// dirtyRegions writes percent of the first n regions of a file, at random, and returns how many bytes that is.
func dirtyRegions(path string, n, percent int64, region int) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rng := rand.NewChaCha8([32]byte{byte(percent)})
	buf := e2e.AlignedBuffer(region)
	chosen := rand.New(rng).Perm(int(n))[:max(1, n*percent/100)]
	for _, i := range chosen {
		rng.Read(buf)
		if _, err := f.WriteAt(buf, int64(i)*int64(region)); err != nil {
			return 0, err
		}
	}
	return int64(len(chosen)) * int64(region), nil
}

// records measures how many records of 4 KiB come to the peer, with the time that it takes to have the last.
func (b *benchmark) records() error {
	c := b.columns[slices.Index(columnNames, "PAIR")]
	j := jobs[1]
	before, began := processor(c.pids()), time.Now()
	s, err := j.run(b.r.ctx, b.r.dir, c.path, b.plan.size, 2*b.plan.length)
	if err != nil {
		return err
	}
	b.settle()
	n := s.bytes / 4096
	b.say(figure{Section: "records", Name: "replicated", Value: n / time.Since(began).Seconds(), Unit: "records/s"})
	b.say(figure{Section: "records", Name: "processor time of both sites", Value: (processor(c.pids()) - before).Seconds() / n * 1e6, Unit: "µs a record"})
	return nil
}

// lags measures how far the peer is behind hosts that write at a steady rate.
func (b *benchmark) lags() error {
	c := b.columns[slices.Index(columnNames, "PAIR")]
	for _, rate := range []int{1000, 5000, 20000} {
		stop, all := make(chan struct{}), make(chan []float64)
		go func() { all <- b.sampleLag(stop) }()
		j := jobs[1]
		j.args = append(slices.Clone(j.args), fmt.Sprintf("--rate_iops=%d", rate))
		s, err := j.run(b.r.ctx, b.r.dir, c.path, b.plan.size, 3*b.plan.length)
		close(stop)
		seen := <-all
		if err != nil {
			return err
		}
		b.settle()
		name := fmt.Sprintf("%d writes a second asked, %.0f made", rate, s.rate)
		for _, q := range []struct {
			name string
			at   int
		}{{"p50", len(seen) / 2}, {"p99", len(seen) * 99 / 100}, {"max", len(seen) - 1}} {
			b.say(figure{Section: "lag", Name: name + ", " + q.name, Value: seen[q.at] * 1e3, Unit: "ms"})
		}
	}
	return nil
}

// sampleLag reads the lag of the pair a hundred times a second, and gives all that was read in order of size.
func (b *benchmark) sampleLag(stop <-chan struct{}) []float64 {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var seen []float64
	for {
		if v, err := strconv.ParseFloat(b.tokyo.Get("pair0")["lag-seconds"], 64); err == nil {
			seen = append(seen, v)
		}
		select {
		case <-tick.C:
		case <-stop:
			slices.Sort(seen)
			return seen
		}
	}
}

// restart measures how long a site that was killed takes until hosts may write again.
func (b *benchmark) restart() error {
	c := b.columns[slices.Index(columnNames, "cut")]
	b.rejoin()
	j := jobs[7]
	j.most = min(b.plan.bulk/4, b.plan.journal/10*7)
	if _, err := j.run(b.r.ctx, b.r.dir, c.path, b.plan.size, time.Minute); err != nil {
		return err
	}
	if bad := c.settle(); bad != "" {
		return fmt.Errorf("%s", bad)
	}
	b.tokyo.Kill9()
	began := time.Now()
	b.tokyo.Restart()
	b.say(figure{Section: "restart", Name: fmt.Sprintf("behind kill -9 with %d MiB in the journal", j.most>>20), Value: time.Since(began).Seconds(), Unit: "s"})
	b.rejoin()
	return nil
}

// takeovers measures two exchanges of the roles, and a takeover behind a kill of the primary.
func (b *benchmark) takeovers() error {
	e2e.Until(b.r, drainLimit, "the pair is linked", func() bool { return b.tokyo.Get("groups/default")["linked"] == "yes" })
	b.settle()
	take := func(name string, s *e2e.Site) error {
		group := "default"
		if s == b.osaka {
			group = "default@tokyo"
		}
		began := time.Now()
		if out, code := s.CLI("group", "takeover", group); code != 0 {
			return fmt.Errorf("takeover at %s: %s", s.Name, out)
		}
		b.say(figure{Section: "takeover", Name: name, Value: time.Since(began).Seconds(), Unit: "s"})
		return nil
	}
	if err := take("switchover", b.osaka); err != nil {
		return err
	}
	b.osaka.Wait("pair0", drainLimit, "PAIR")
	b.tokyo.Wait("pair0", drainLimit, "PAIR")
	if err := take("switchover back", b.tokyo); err != nil {
		return err
	}
	b.osaka.Wait("pair0", drainLimit, "PAIR")
	b.settle()
	b.tokyo.Kill9()
	if err := take("takeover behind kill -9 of the primary", b.osaka); err != nil {
		return err
	}
	b.tokyo.Restart()
	return nil
}

func mibps(n int64, took time.Duration) float64 { return float64(n) / (1 << 20) / took.Seconds() }
