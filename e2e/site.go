package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e/faultfs"
	"pairfs/quicwire/wiretest"
)

// Bounds of a site's life. They are generous: a loaded machine is slow, and a test that waits this long has failed anyway.
const (
	startLimit = 60 * time.Second
	stopLimit  = 60 * time.Second
	// siteLimit ends a daemon that outlives its test's patience, so that no test process hangs in a mount that does not answer.
	// [Options] may have another.
	siteLimit = 8 * time.Minute
)

// Site is one daemon process with its state directory and its mount. Its methods are for one goroutine, except that reading and
// writing below Mnt is as concurrent as any file system.
type Site struct {
	Name   string
	Mnt    string      // the mount
	State  string      // the state directory
	Ring   string      // the directory of staging rings, on tmpfs
	noRing bool        // a power cut took them
	Listen string      // HOST:PORT of its QUIC listener, the same after a restart
	Memory string      // --memory, "" for the default
	Disk   *faultfs.FS // below State, if the options asked for it
	binary string      // what it runs, "" for [Binary]
	crash  string      // PAIRFS_CRASH of its daemon, see [Site.ArmCrash]

	t      T
	netns  string // namespace in which the daemon runs, "" for the test's own
	limit  time.Duration
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	exit   error
	hung   atomic.Bool
	once   sync.Once
}

// Options of [Start]. The zero value is what most tests want.
type Options struct {
	Memory string        // bound of the site's memory, as in "64MiB"
	Limit  time.Duration // a daemon that runs longer is ended; 8 minutes
	Netns  string        // name of the network namespace in which it runs; the test's own
	Listen string        // HOST:PORT of its listener; a free port of the loopback
	Binary string        // what it runs; that of [Binary]
	Faulty bool          // its state directory is on a disk that fails on request, [Site.Disk]
}

// Start starts a site with a fresh state and returns when its mount answers. The site ends with the test; if the test failed, its log
// and state are dumped.
func Start(t T, name string, opts ...Options) *Site {
	t.Helper()
	dir := t.TempDir()
	ring, err := os.MkdirTemp("/dev/shm", "pairfs-e2e-")
	if err != nil {
		t.Fatalf("make a directory for staging rings: %v", err)
	}
	s := &Site{
		Name: name, t: t, Mnt: filepath.Join(dir, "mnt"), State: filepath.Join(dir, "state"), Ring: ring,
		log: filepath.Join(dir, "log"), Listen: freePort(t), limit: siteLimit,
	}
	if len(opts) > 0 {
		s.Memory, s.netns, s.binary = opts[0].Memory, opts[0].Netns, opts[0].Binary
		if opts[0].Listen != "" {
			s.Listen = opts[0].Listen
		}
		if opts[0].Limit > 0 {
			s.limit = opts[0].Limit
		}
	}
	t.Cleanup(s.cleanup)
	for _, d := range []string{s.Mnt, s.State} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatalf("%v", err)
		}
	}
	if len(opts) > 0 && opts[0].Faulty {
		s.putOnFaultyDisk(filepath.Join(dir, "disk"))
	}
	s.Restart()
	return s
}

// putOnFaultyDisk mounts the state directory, which lies in backing from then on.
func (s *Site) putOnFaultyDisk(backing string) {
	s.t.Helper()
	err := os.Mkdir(backing, 0o700)
	if err == nil {
		s.Disk, err = faultfs.Mount(backing, s.State)
	}
	if err != nil {
		s.t.Fatalf("put site %s on a disk that fails on request: %v", s.Name, err)
	}
}

// Fail lets requests to the site's disk fail from now on, and returns how many failed of those that were to fail before.
func (s *Site) Fail(f faultfs.Fault) int {
	s.t.Helper()
	failed, err := s.Disk.Set(f)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return failed
}

// freePort returns an address for a daemon, see [wiretest.FreeAddr].
func freePort(t T) string {
	t.Helper()
	addr, err := wiretest.FreeAddr()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return addr
}

// Restart starts the daemon, which must not be running, and returns when the mount answers.
func (s *Site) Restart() {
	s.t.Helper()
	if err := s.TryStart(); err != nil {
		s.t.Fatalf("%v", err)
	}
}

// TryStart is [Site.Restart] for a test that expects a refusal: the error holds what the daemon printed.
func (s *Site) TryStart() error {
	begun, err := s.launch()
	if err != nil {
		return err
	}
	return s.answer(begun)
}

// launch starts the daemon's process and does not wait for its mount. begun is where its log begins.
func (s *Site) launch() (begun int64, err error) {
	logFile, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer logFile.Close()
	begun, _ = logFile.Seek(0, 2)
	args := []string{"mount", "--foreground", "--state", s.State, "--name", s.Name, "--listen", s.Listen, "--ring-dir", s.Ring}
	if s.noRing {
		args = append(args, "--without-ring")
	}
	if s.Memory != "" {
		args = append(args, "--memory", s.Memory)
	}
	program := s.binary
	if program == "" {
		program = Binary()
	}
	args = append([]string{program}, append(args, s.Mnt)...)
	if s.netns != "" {
		args = append([]string{"nsenter", "--net=" + netnsDir + s.netns}, args...) // becomes the daemon: one process, one pid
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if s.crash != "" {
		cmd.Env = append(os.Environ(), "PAIRFS_CRASH="+s.crash)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start site %s: %w", s.Name, err)
	}
	s.cmd, s.exited = cmd, make(chan struct{})
	watchdog := time.AfterFunc(s.limit, s.giveUp)
	go func(exited chan struct{}) {
		s.exit = cmd.Wait()
		watchdog.Stop()
		close(exited)
	}(s.exited)
	return begun, nil
}

// answer waits until the mount answers or the daemon has ended.
func (s *Site) answer(begun int64) error {
	deadline := time.NewTimer(startLimit)
	defer deadline.Stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if b, err := os.ReadFile(s.ctlPath("site")); err == nil && len(b) > 0 {
			return nil
		}
		select {
		case <-s.exited:
			b, _ := os.ReadFile(s.log)
			return fmt.Errorf("site %s did not start (%v): %s", s.Name, s.exit, strings.TrimSpace(string(b[min(begun, int64(len(b))):])))
		case <-deadline.C:
			s.giveUp()
			return fmt.Errorf("site %s did not answer within %v", s.Name, startLimit)
		case <-ticker.C:
		}
	}
}

// Pid returns the daemon's process id.
func (s *Site) Pid() int { return s.cmd.Process.Pid }

// Running reports whether the daemon runs.
func (s *Site) Running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Kill9 kills the daemon as a crash would and returns when it is gone. Its mount is dead until [Site.Restart].
func (s *Site) Kill9() {
	s.t.Helper()
	if !s.Running() {
		s.t.Fatalf("site %s ended by itself before it was killed: %v", s.Name, s.exit)
	}
	s.cmd.Process.Kill()
	<-s.exited
}

// ArmCrash lets the daemons that are started from now on die when they are at the named point for the n-th time; "" lets them live. The site
// runs a binary of [BuildCrashpoints].
func (s *Site) ArmCrash(point string, n int) {
	s.crash = ""
	if point != "" {
		s.crash = fmt.Sprintf("%s:%d", point, n)
	}
}

// Crashed reports whether a daemon of the site died at the point that was named last.
func (s *Site) Crashed() bool {
	point, _, _ := strings.Cut(s.crash, ":")
	return point != "" && !s.Running() && strings.HasSuffix(s.Log(), "crash point "+point+"\n")
}

// PowerCut kills the daemon and takes its staging rings away, which is what a power cut leaves of it. (What the page cache of the
// host holds is still there.)
func (s *Site) PowerCut() {
	s.t.Helper()
	s.Kill9()
	entries, err := os.ReadDir(s.Ring)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	if len(entries) == 0 {
		s.t.Fatalf("site %s has no staging ring in %s", s.Name, s.Ring)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.Ring, e.Name())); err != nil {
			s.t.Fatalf("%v", err)
		}
	}
	s.noRing = true // the machine runs on: for the site its rings were taken away
}

// Stop asks the daemon to end and fails the test unless it does so cleanly.
func (s *Site) Stop() {
	s.t.Helper()
	if !s.Running() {
		s.t.Fatalf("site %s is not running: %v", s.Name, s.exit)
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	s.WaitExit(stopLimit)
	if s.exit != nil {
		s.t.Fatalf("site %s did not stop cleanly: %v", s.Name, s.exit)
	}
}

// WaitExit waits until the daemon has ended.
func (s *Site) WaitExit(limit time.Duration) {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(limit):
		s.giveUp()
		<-s.exited
		s.t.Fatalf("site %s did not end within %v", s.Name, limit)
	}
}

// ExitError returns how the daemon ended; it must have.
func (s *Site) ExitError() error { <-s.exited; return s.exit }

// giveUp makes a daemon that does not answer print its goroutines and die.
func (s *Site) giveUp() {
	s.hung.Store(true)
	s.cmd.Process.Signal(unix.SIGQUIT)
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		s.cmd.Process.Kill()
	}
}

// RSS returns the daemon's resident memory in bytes: now without the rings and all else that is mapped, and at its peak with them.
func (s *Site) RSS() (now, peak int64) {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(b)) {
		fmt.Sscanf(line, "RssAnon: %d kB", &now)
		fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return now << 10, peak << 10
}

// Path returns the path of a volume in the mount.
func (s *Site) Path(volume string) string { return filepath.Join(s.Mnt, volume) }

// Log returns what the daemon has logged.
func (s *Site) Log() string {
	b, _ := os.ReadFile(s.log)
	return string(b)
}

// cleanup ends the daemon, dumps what a failed test needs, and leaves no mount and no ring.
func (s *Site) cleanup() {
	if s.t.Failed() {
		s.dump()
	}
	s.once.Do(func() {
		if s.Running() {
			s.cmd.Process.Signal(unix.SIGTERM)
			select {
			case <-s.exited:
			case <-time.After(20 * time.Second):
				s.t.Errorf("site %s did not stop on SIGTERM within 20s", s.Name)
				s.giveUp()
				<-s.exited
				s.t.Logf("log of site %s:\n%s", s.Name, lastLines(s.Log(), 400))
			}
		}
	})
	for _, word := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(s.Log(), word); at >= 0 && !s.hung.Load() {
			s.t.Errorf("site %s: %.4000s", s.Name, s.Log()[at:])
		}
	}
	for unix.Unmount(s.Mnt, unix.MNT_DETACH) == nil {
	}
	if s.Disk != nil {
		s.Disk.Close()
	}
	os.RemoveAll(s.Ring)
}
