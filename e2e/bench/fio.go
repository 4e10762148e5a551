package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"
)

// job is one row of the first table: what a host does to a file.
type job struct {
	name  string
	args  []string // of fio
	bytes bool     // shown as bytes a second, else as operations a second
	read  bool
	sync  bool // its latency is that of the sync
	cache bool // through the page cache, without O_DIRECT
	seed  int
	most  int64 // bytes after which it ends, if that is before its time; 0 for none

	inserts string // journal mode and synchronous of SQLite, whose transactions are measured instead; "" for fio
}

var jobs = []job{
	{name: "4k random write, depth 1", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k random write, depth 16", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--iodepth=16"}},
	{name: "4k random write, 16 jobs", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--numjobs=16", "--group_reporting", "--thread"}},
	{name: "4k write + fdatasync, 1 job", sync: true, args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fdatasync=1"}},
	{name: "4k write + fdatasync, 16 jobs", sync: true, args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fdatasync=1",
		"--numjobs=16", "--group_reporting", "--thread"}},
	{name: "4k O_DSYNC write, 1 job", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--sync=dsync"}},
	{name: "4k O_DSYNC write, 16 jobs", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--sync=dsync", "--numjobs=16", "--group_reporting", "--thread"}},
	{name: "1M sequential write", bytes: true, args: []string{"--rw=write", "--bs=1m", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k random read, depth 1", read: true, args: []string{"--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k random read, depth 16", read: true, args: []string{"--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=16"}},
	{name: "1M sequential read", read: true, bytes: true, args: []string{"--rw=read", "--bs=1m", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k buffered write", cache: true, args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync"}},
	{name: "1M buffered write", cache: true, bytes: true, args: []string{"--rw=write", "--bs=1m", "--ioengine=psync"}},
	{name: "SQLite insert, FULL", inserts: "delete full"},
	{name: "SQLite insert, WAL", inserts: "wal full"},
}

// sample is what one run of a job gave.
type sample struct {
	rate     float64       // operations or bytes a second
	p50, p99 time.Duration // of a request, of the sync, of a transaction
	bytes    float64       // that the host read or wrote
	cpu      time.Duration // that the processes behind the file used for it; 0 if there are none
	disk     traffic       // what was written to the disk meanwhile
}

// fioReport is the part of fio's JSON that is read.
type fioReport struct {
	Jobs []struct {
		Error int       `json:"error"`
		Read  fioStream `json:"read"`
		Write fioStream `json:"write"`
		Sync  struct {
			Latency fioLatency `json:"lat_ns"`
		} `json:"sync"`
	} `json:"jobs"`
}

type fioStream struct {
	IOPS    float64    `json:"iops"`
	Rate    float64    `json:"bw_bytes"`
	Bytes   float64    `json:"io_bytes"`
	Latency fioLatency `json:"clat_ns"`
}

type fioLatency struct {
	Percentile map[string]float64 `json:"percentile"`
}

func (l fioLatency) p50() time.Duration { return time.Duration(l.Percentile["50.000000"]) }
func (l fioLatency) p99() time.Duration { return time.Duration(l.Percentile["99.000000"]) }

// run runs the job on a file of size bytes for the time. dir is for what it needs besides.
func (j job) run(ctx context.Context, dir, path string, size int64, length time.Duration) (sample, error) {
	if j.inserts != "" {
		return j.insert(ctx, dir, path, length)
	}
	args := append([]string{
		"--name=bench", "--filename=" + path, fmt.Sprintf("--size=%d", size), "--norandommap",
		fmt.Sprintf("--runtime=%dms", length.Milliseconds()), fmt.Sprintf("--randseed=%d", j.seed), "--output-format=json",
		"--allow_file_create=0",
	}, j.args...)
	if !j.cache {
		args = append(args, "--direct=1")
	}
	if j.most > 0 {
		args = append(args, fmt.Sprintf("--io_size=%d", j.most))
	} else {
		args = append(args, "--time_based") // it would go on behind io_size
	}
	cmd := exec.CommandContext(ctx, "fio", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("fio %v: %w: %s%s", args, err, errs.Bytes(), out[:min(len(out), 2000)])
	}
	return j.parse(out)
}

// parse reads fio's report, which may have lines of text before it.
func (j job) parse(out []byte) (sample, error) {
	var report fioReport
	at := bytes.IndexByte(out, '{')
	if at < 0 {
		return sample{}, fmt.Errorf("fio printed no JSON: %.200s", out)
	}
	if err := json.Unmarshal(out[at:], &report); err != nil || len(report.Jobs) != 1 {
		return sample{}, fmt.Errorf("fio printed %d jobs in its JSON (%w)", len(report.Jobs), err)
	}
	one := report.Jobs[0]
	stream := one.Write
	if j.read {
		stream = one.Read
	}
	s := sample{rate: stream.IOPS, p50: stream.Latency.p50(), p99: stream.Latency.p99(), bytes: stream.Bytes}
	if j.bytes {
		s.rate = stream.Rate
	}
	if j.sync {
		s.p50, s.p99 = one.Sync.Latency.p50(), one.Sync.Latency.p99()
	}
	if one.Error != 0 || s.rate <= 0 || s.p99 <= 0 {
		return sample{}, fmt.Errorf("fio measured nothing: error %d, rate %v, p99 %v", one.Error, s.rate, s.p99)
	}
	return s, nil
}
