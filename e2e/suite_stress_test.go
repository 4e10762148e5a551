package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stressors are what stress-ng does to a file system at the same time, checking what it reads.
var stressors = strings.Fields(`--hdd 1 --hdd-bytes 32m --fallocate 1 --fallocate-bytes 32m --fpunch 1 --aio 1 --mmap 1 --mmap-file --mmap-bytes 16m
	--copy-file 1 --copy-file-bytes 128m --seek 1 --seek-size 16m --readahead 1 --readahead-bytes 16m --sync-file 1 --sync-file-bytes 16m
	--iomix 1 --iomix-bytes 16m --fiemap 1 --fiemap-bytes 16m --dentry 1 --dentries 256 --rename 1 --link 1 --symlink 1 --dir 1 --xattr 1 --verify`)

// stressTime is how long it works on each file system.
func stressTime() time.Duration { return time.Duration(scale(60, 10)) * time.Second }

// stress is stress-ng at work.
type stress struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   strings.Builder
	ended chan struct{}
}

func startStress(t *testing.T, dir string, seed uint64) *stress {
	t.Helper()
	s := &stress{t: t, ended: make(chan struct{})}
	args := append([]string{"--temp-path", dir, "--timeout", fmt.Sprintf("%.0fs", stressTime().Seconds()), "--seed", fmt.Sprint(seed >> 1), "--metrics-brief"}, stressors...)
	s.cmd = exec.Command("stress-ng", args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start stress-ng: %v", err)
	}
	go func() { s.cmd.Wait(); close(s.ended) }()
	t.Cleanup(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.ended
	})
	return s
}

// wait waits for its end, at which it says whether all it read was right.
func (s *stress) wait() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(stressTime() + suiteLimit/2):
		s.t.Fatalf("stress-ng does not end:\n%s", s.out.String())
	}
	if !s.cmd.ProcessState.Success() {
		s.t.Fatalf("stress-ng: %v\n%s", s.cmd.ProcessState, s.out.String())
	}
	s.t.Logf("stress-ng:\n%s", s.out.String())
}

// TestSuiteStress lets stress-ng loose on ext4 and xfs with discard, on loop devices over P-VOLs. A split in the middle of its work leaves an image
// that mounts and is clean; when it has ended, and the file system was trimmed, it is clean on both sides, which are equal.
func TestSuiteStress(t *testing.T) {
	needSuites(t)
	for _, kind := range fsKinds {
		t.Run(kind.name, func(t *testing.T) {
			const size = 1024 * mib
			s := Two(t, Options{Limit: suiteLimit})
			s.A.MakeVolume("disk", size)
			s.CreatePair("pair0", "disk", "")
			s.WaitBoth("pair0", "PAIR")
			dir, umount := loopMount(t, s.A.Path("disk"), kind.name, kind.options, true)
			churn(t, dir, 1)
			work := filepath.Join(dir, "stress")
			if err := os.Mkdir(work, 0o700); err != nil {
				t.Fatal(err)
			}
			load := startStress(t, work, s.Seed)
			before := s.A.Int("groups/default", "appended")
			Until(t, StatusLimit, "stress-ng writes", func() bool {
				select {
				case <-load.ended:
					load.wait()
				default:
				}
				return s.A.Int("groups/default", "appended") > before+1000
			})

			s.A.Do("pair0", "suspend")
			s.WaitBoth("pair0", "PSUS")
			checkCrashImage(t, s.B.Path("disk"), kind.name, kind.options, kind.check)
			s.A.Do("pair0", "resync")
			load.wait()
			s.WaitBoth("pair0", "PAIR")

			full := s.A.Int("volumes/disk", "allocated-bytes")
			if err := os.RemoveAll(work); err != nil {
				t.Fatal(err)
			}
			t.Log(strings.TrimSpace(Run(t, "fstrim", "-v", dir)))
			umount()
			s.A.AwaitDrained("pair0")
			s.A.Do("pair0", "suspend")
			s.WaitBoth("pair0", "PSUS")
			for _, side := range []*Site{s.A, s.B} {
				Run(t, kind.check[0], append(kind.check[1:len(kind.check):len(kind.check)], side.Path("disk"))...)
			}
			s.SameVolumes("disk")
			t.Logf("clean and equal; the store of the P-VOL took %d bytes before the trim and %d, that of the S-VOL %d, after it", full,
				s.A.Int("volumes/disk", "allocated-bytes"), s.B.Int("volumes/disk", "allocated-bytes"))
		})
	}
}
