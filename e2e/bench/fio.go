package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"
)

// job is one row of the table.
type job struct {
	name  string
	args  []string
	bytes bool // shown as bytes a second, else as operations a second
	read  bool
	sync  bool // its latency is that of the sync
	seed  int
}

var jobs = []job{
	{name: "4k random write, depth 1", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k random write, depth 16", args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--iodepth=16"}},
	{name: "4k write + fdatasync, 1 job", sync: true, args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fdatasync=1"}},
	{name: "4k write + fdatasync, 16 jobs", sync: true, args: []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fdatasync=1",
		"--numjobs=16", "--group_reporting", "--thread"}},
	{name: "1M sequential write, depth 1", bytes: true, args: []string{"--rw=write", "--bs=1m", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k random read, depth 1", read: true, args: []string{"--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=1"}},
	{name: "4k random read, depth 16", read: true, args: []string{"--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=16"}},
}

// sample is what one run of a job gave.
type sample struct {
	rate float64       // operations or bytes a second
	p99  time.Duration // of a request, or of the sync
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
	Bytes   float64    `json:"bw_bytes"`
	Latency fioLatency `json:"clat_ns"`
}

type fioLatency struct {
	Percentile map[string]float64 `json:"percentile"`
}

func (l fioLatency) p99() time.Duration { return time.Duration(l.Percentile["99.000000"]) }

// run runs the job on a file of size bytes for the time.
func (j job) run(ctx context.Context, path string, size int64, length time.Duration) (sample, error) {
	args := append([]string{
		"--name=bench", "--filename=" + path, "--direct=1", fmt.Sprintf("--size=%d", size), "--time_based", "--norandommap",
		fmt.Sprintf("--runtime=%d", int(length.Seconds())), fmt.Sprintf("--randseed=%d", j.seed), "--output-format=json",
		"--allow_file_create=0",
	}, j.args...)
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
	s := sample{rate: stream.IOPS, p99: stream.Latency.p99()}
	if j.bytes {
		s.rate = stream.Bytes
	}
	if j.sync {
		s.p99 = one.Sync.Latency.p99()
	}
	if one.Error != 0 || s.rate <= 0 || s.p99 <= 0 {
		return sample{}, fmt.Errorf("fio measured nothing: error %d, rate %v, p99 %v", one.Error, s.rate, s.p99)
	}
	return s, nil
}
