package e2e

import (
	"fmt"
	"testing"
)

// TestFioVerifies lets fio write with verification, reading back while it writes, on a P-VOL; the image at the secondary is equal.
func TestFioVerifies(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 64 * mib
	s.A.MakeVolume("db", size)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	loops := scale(1, 10)
	for _, job := range [][]string{
		{"--name=backlog", "--rw=randwrite", "--bs=4k", "--iodepth=16", "--verify_backlog=64"},
		{"--name=mixed", "--rw=randrw", "--bsrange=512-128k", "--blockalign=512", "--iodepth=8", "--serialize_overlap=1"},
		{"--name=synced", "--rw=randwrite", "--bs=4k", "--iodepth=1", "--fdatasync=8", "--number_ios=1000"},
		{"--name=large", "--rw=write", "--bs=1m", "--iodepth=4"},
	} {
		args := append([]string{
			"--filename=" + s.A.Path("db"), "--direct=1", "--ioengine=libaio", fmt.Sprintf("--size=%d", size), fmt.Sprintf("--loops=%d", loops),
			"--verify=crc32c", "--verify_state_save=0", "--verify_fatal=1", "--do_verify=1", fmt.Sprintf("--randseed=%d", s.Seed%1e9),
		}, job...)
		Run(t, "fio", args...)
	}
	s.A.AwaitDrained("pair0")
	s.SameVolumes("db")
	s.A.Do("pair0", "suspend")
	s.WaitBoth("pair0", "PSUS")
	s.SameVolumes("db")
}
