package fs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// serveEnv names the directory that this program, started again, shall serve instead of running tests: the process that serves a mount
// must never touch it, so the tests are in another one.
const serveEnv = "PAIRFS_FS_TEST_SERVE"

// patience bounds every wait of a test; it is no measure of anything.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		os.Exit(serveChild(dir))
	}
	os.Exit(m.Run())
}

// order is what a test wants of the child: a change of its fake site, or a look at it.
type order struct {
	Op     string
	Volume string
	On     bool
	Off    int64
	Data   []byte
	Text   string
	Kind   replica.Kind
}

// report is the child's answer.
type report struct {
	Err      string
	Busy     bool
	Stopped  bool
	Writes   []fakeWrite
	Syncs    int
	Waiting  int
	Handles  [2]int // read, write
	Calls    []string
	Audit    []replica.Entry
	Data     []byte
	Finished bool
}

// serveChild mounts a fake site and carries out orders from stdin until that ends.
func serveChild(dir string) int {
	site := newFakeSite()
	stopped := false
	m, err := mount(site, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Stop: func() { stopped = true }})
	out := json.NewEncoder(os.Stdout)
	if err != nil {
		out.Encode(report{Err: err.Error(), Busy: errors.Is(err, unix.EBUSY)})
		return 1
	}
	out.Encode(report{})
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var o order
		if in.Decode(&o) != nil {
			break
		}
		r := site.obey(o, m)
		r.Stopped = stopped
		out.Encode(r)
		if r.Finished {
			return 0
		}
	}
	if err := m.Unmount(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// obey carries out one order.
func (s *fakeSite) obey(o order, m *Mounted) (r report) {
	if o.Op == "unmount" {
		err := m.Unmount()
		return report{Err: errText(err), Busy: errors.Is(err, unix.EBUSY), Finished: err == nil}
	}
	s.mu.Lock()
	v, invalidate := s.volumes[o.Volume], s.invalidate
	switch o.Op {
	case "calls":
		r.Calls, s.calls = s.calls, nil
	case "differences":
		s.differences = []*replica.Differences{manyRanges(o.Off)}
	case "kept":
		s.kept, s.keptErr = fakeKeptSets, nil
	case "kept-bad":
		s.keptErr = kindError(replica.KindInternal, o.Text)
	case "audit":
		r.Audit = s.audit
	case "refuse":
		s.refuse = nil
		if o.On {
			s.refuse = kindError(o.Kind, o.Text)
		}
	}
	s.mu.Unlock()
	if o.Op == "event" {
		s.Note(slog.LevelInfo, "pair pair0", o.Text)
	}
	if v == nil {
		return r
	}
	v.mu.Lock()
	switch o.Op {
	case "paired":
		v.paired = o.On
	case "readonly":
		v.readonly = o.On
	case "full":
		v.full = o.On
	case "panic":
		v.panics = true
	case "look":
		r.Writes, r.Syncs, r.Handles, r.Data = v.writes, v.syncs, [2]int{v.readers, v.writers}, v.data
		r.Waiting = v.waiting
		v.writes, v.syncs = nil, 0
	case "restore":
		copy(v.data[o.Off:], o.Data)
	}
	v.mu.Unlock()
	if o.Op == "restore" {
		invalidate(v.id, o.Off, int64(len(o.Data)))
	}
	return r
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// child is a running mount in another process.
type child struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	in   *json.Encoder
	pipe interface{ Close() error }
	out  *json.Decoder
	exit chan error
}

// serve mounts a fake site in a directory of its own.
func serve(t *testing.T) *child {
	t.Helper()
	c := launch(t, mountDir(t))
	if r := c.answer(); r.Err != "" {
		t.Fatalf("mount: %s", r.Err)
	}
	return c
}

// mountDir makes a directory to mount at, and cleans up whatever is left mounted there.
func mountDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mnt with blank")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil {
			t.Errorf("a mount was left at %s", dir)
		}
	})
	return dir
}

// launch starts the process; its first answer says whether it could mount.
func launch(t *testing.T, dir string) *child {
	t.Helper()
	c := &child{t: t, dir: dir, exit: make(chan error, 1)}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), serveEnv+"="+dir, "GORACE=atexit_sleep_ms=10")
	c.cmd.Stderr = t.Output()
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.in, c.pipe, c.out = json.NewEncoder(in), in, json.NewDecoder(out)
	t.Cleanup(c.end)
	return c
}

// end unmounts and waits; what hangs is killed and fails the test.
func (c *child) end() {
	if c.cmd.ProcessState != nil {
		return
	}
	c.pipe.Close()
	go func() { c.exit <- c.cmd.Wait() }()
	select {
	case err := <-c.exit:
		if err != nil {
			c.t.Errorf("the serving process: %v", err)
		}
	case <-time.After(patience):
		c.t.Error("the serving process does not end")
		c.cmd.Process.Kill()
		<-c.exit
	}
}

// reap waits for a process that ends by itself and returns its exit status, -1 for a signal.
func (c *child) reap() int {
	c.t.Helper()
	go func() { c.exit <- c.cmd.Wait() }()
	select {
	case <-c.exit:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		c.t.Fatal("the serving process does not end")
		return 0
	}
}

func (c *child) answer() (r report) {
	c.t.Helper()
	if err := c.out.Decode(&r); err != nil {
		c.t.Fatalf("no answer from the serving process: %v", err)
	}
	return r
}

// do has the child carry out an order.
func (c *child) do(o order) report {
	c.t.Helper()
	if err := c.in.Encode(o); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

func (c *child) path(name ...string) string {
	return filepath.Join(append([]string{c.dir}, name...)...)
}

// volume makes a volume of a size.
func (c *child) volume(name string, size int64) string {
	c.t.Helper()
	p := c.path(name)
	if err := os.WriteFile(p, nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Truncate(p, size); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// open opens a file until the end of the test.
func (c *child) open(path string, flags int) *os.File {
	c.t.Helper()
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { f.Close() })
	return f
}

// wantErrno fails the test unless err is that errno.
func wantErrno(t *testing.T, what string, err error, want syscall.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// shell runs a shell command in the mount and returns what it printed.
func (c *child) shell(script string) (string, error) {
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = c.dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// until waits for something that comes by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
