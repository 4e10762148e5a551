package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	fioSize = 32 * mib // of a volume
	fioJobs = 16       // that share one
)

// fioMode is a way in which fio writes a volume of its own.
type fioMode struct {
	name string
	args []string
	loop bool // through a loop device: fio trims block devices only
}

var fioModes = []fioMode{
	{name: "direct", args: []string{"--direct=1", "--ioengine=psync", "--rw=randwrite", "--bs=4k"}},
	{name: "large", args: []string{"--direct=1", "--ioengine=psync", "--rw=write", "--bs=1m"}},
	{name: "libaio16", args: []string{"--direct=1", "--ioengine=libaio", "--iodepth=16", "--rw=randwrite", "--bs=4k"}},
	{name: "libaio32", args: []string{"--direct=1", "--ioengine=libaio", "--iodepth=32", "--rw=randwrite", "--bs=16k"}},
	{name: "uring16", args: []string{"--direct=1", "--ioengine=io_uring", "--iodepth=16", "--rw=randwrite", "--bs=4k"}},
	{name: "uring32", args: []string{"--direct=1", "--ioengine=io_uring", "--iodepth=32", "--rw=randwrite", "--bs=16k"}},
	{name: "backlog", args: []string{"--direct=1", "--ioengine=libaio", "--iodepth=16", "--rw=randwrite", "--bs=4k", "--verify_backlog=64"}},
	{name: "mixed", args: []string{"--direct=1", "--ioengine=libaio", "--iodepth=8", "--rw=randwrite", "--bsrange=512-256k", "--blockalign=512", "--serialize_overlap=1"}},
	{name: "buffered", args: []string{"--direct=0", "--ioengine=psync", "--rw=randwrite", "--bs=4k"}},
	{name: "unaligned", args: []string{"--direct=0", "--ioengine=psync", "--rw=randwrite", "--bsrange=512-64k", "--bs_unaligned=1", "--norandommap=1"}},
	{name: "mmap", args: []string{"--ioengine=mmap", "--rw=randwrite", "--bs=4k"}},
	{name: "fsync", args: []string{"--direct=0", "--ioengine=psync", "--rw=randwrite", "--bs=16k", "--fsync=16"}},
	{name: "fdatasync", args: []string{"--direct=1", "--ioengine=psync", "--rw=randwrite", "--bs=16k", "--fdatasync=8"}},
	{name: "jobs", args: []string{"--direct=1", "--ioengine=libaio", "--iodepth=4", "--rw=randwrite", "--bs=4k", fmt.Sprintf("--numjobs=%d", fioJobs),
		fmt.Sprintf("--offset_increment=%d", fioSize/fioJobs), fmt.Sprintf("--size=%d", fioSize/fioJobs)}},
	{name: "trimwrite", args: []string{"--direct=1", "--ioengine=psync", "--rw=trimwrite", "--bs=64k"}, loop: true},
	{name: "randtrim", args: []string{"--direct=1", "--ioengine=libaio", "--iodepth=8", "--rw=randtrimwrite", "--bs=16k"}, loop: true},
}

// ioUring reports whether this host lets programs use io_uring; containers often do not.
func ioUring() bool {
	var params [120]byte
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno == 0 {
		unix.Close(int(fd))
	}
	return errno != unix.ENOSYS && errno != unix.EPERM
}

// run lets fio write a volume, or only verify what it wrote, and returns how many blocks it has read.
func (m fioMode) run(t *testing.T, seed uint64, volume string, more ...string) (blocks int) {
	t.Helper()
	if m.loop {
		loop := strings.TrimSpace(Run(t, "losetup", "--find", "--show", "--direct-io=on", volume))
		defer Run(t, "losetup", "--detach", loop)
		volume = loop
	}
	args := append([]string{
		"--name=" + m.name, "--filename=" + volume, fmt.Sprintf("--size=%d", fioSize), fmt.Sprintf("--randseed=%d", seed%1e9),
		"--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--group_reporting",
	}, m.args...)
	out := Run(t, "fio", append(args, more...)...)
	for _, found := range fioReads.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(found[1])
		blocks += n
	}
	if blocks == 0 {
		t.Fatalf("fio verified nothing of %s:\n%s", volume, out)
	}
	return blocks
}

// TestSuiteFio lets fio write P-VOLs in every way that it knows, and verify what it wrote: at once, behind a kill -9 of the daemon, and at the S-VOL
// when the roles were exchanged.
func TestSuiteFio(t *testing.T) {
	needSuites(t)
	s := Two(t, Options{Limit: suiteLimit})
	modes := fioModes
	if !ioUring() {
		t.Log("without io_uring: this host does not let it be used")
		modes = slices.DeleteFunc(slices.Clone(modes), func(m fioMode) bool { return slices.Contains(m.args, "--ioengine=io_uring") })
	}
	var names []string
	for i, m := range modes {
		names = append(names, m.name)
		s.A.MakeVolume(m.name, fioSize)
		s.CreatePair(fmt.Sprint("pair", i), m.name, "")
		s.WaitBoth(fmt.Sprint("pair", i), "PAIR")
	}
	var blocks [3]int // verified at once, behind a kill, and at the other side
	again := func(i, when int, side *Site) {
		m := modes[i]
		blocks[when] += m.run(t, s.Seed, side.Path(m.name), "--verify_only=1")
	}
	for i, m := range modes {
		begun := time.Now()
		n := m.run(t, s.Seed, s.A.Path(m.name))
		blocks[0] += n
		s.A.Kill9()
		s.A.Restart()
		again(i, 1, s.A)
		t.Logf("%-10s %6d blocks are right, and behind a kill -9; %v", m.name, n, time.Since(begun).Round(time.Millisecond))
	}
	s.AwaitLink()
	for i := range modes {
		s.A.AwaitDrained(fmt.Sprint("pair", i))
	}
	s.SameVolumes(names...)
	if out, code := s.B.CLI("group", "takeover", "default@tokyo"); code != 0 || !strings.HasPrefix(out, "swap-takeover:") {
		t.Fatalf("takeover at osaka: exit status %d, %s", code, out)
	}
	for i := range modes {
		again(i, 2, s.B)
	}
	t.Logf("%d ways to write: %d blocks verified at once, %d behind a kill -9, %d at the other side", len(modes), blocks[0], blocks[1], blocks[2])
}
