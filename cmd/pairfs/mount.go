package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"pairfs/replica"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// mountCmd serves a site: in the foreground as the daemon itself, else by starting itself again as the daemon.
type mountCmd struct {
	State        string        `required:"" placeholder:"DIR" help:"State directory of the site; made on first use."`
	Name         string        `required:"" placeholder:"SITE" help:"Name of the site, as its peers call it."`
	Listen       string        `required:"" placeholder:"HOST:PORT" help:"UDP address that peers reach this site at; port 0 takes a free one."`
	Memory       sizeFlag      `default:"256MiB" help:"Bound of staging rings and buffers."`
	RingDir      string        `name:"ring-dir" placeholder:"DIR" help:"Directory on tmpfs for the staging rings; /dev/shm, or /run where that is tmpfs."`
	WithoutRing  bool          `name:"without-ring" help:"Start although a staging ring that a killed daemon left is gone: what it alone held is lost, and an event names the volumes."`
	WithoutStore []string      `name:"without-store" placeholder:"VOLUME" help:"Start although the store of this volume is gone: the volume and its pair are given up here; the other side keeps what it has. May be given several times."`
	PathWatch    time.Duration `name:"path-watch" default:"5m" placeholder:"TIME" help:"How long a mirror may be down before its pairs are suspended (path watch time)."`
	Metrics      string        `placeholder:"HOST:PORT" help:"Serve /metrics by HTTP at this TCP address; off unless given."`
	Foreground   bool          `help:"Stay, and log to stderr."`
	ReadyFD      int           `hidden:"" default:"-1" name:"ready-fd"`
	Dir          string        `arg:"" name:"mnt" help:"Directory to mount at."`
}

// Run mounts.
func (m *mountCmd) Run(a *app) error {
	if err := m.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(m.State, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if err := replica.CheckStateDir(m.State); err != nil { // before the log of the daemon is opened there
		return m.report(err)
	}
	if m.ReadyFD >= 0 || m.Foreground {
		return m.daemon(a)
	}
	_, err := os.Lstat(filepath.Join(m.State, "site.db"))
	fresh := errors.Is(err, os.ErrNotExist)
	if err := m.background(a); err != nil {
		return err
	}
	if fresh {
		fmt.Fprintf(a.stderr, "pairfs: a new site %s was made in %s\n", m.Name, m.State)
	}
	return nil
}

// check makes the paths absolute and refuses what cannot work before anything is started.
func (m *mountCmd) check() error {
	var err error
	if m.Dir, err = absolute(m.Dir); err != nil {
		return err
	}
	if m.RingDir == "" {
		m.RingDir = replica.DefaultRingDir()
	}
	for _, p := range []*string{&m.State, &m.RingDir} {
		if *p, err = filepath.Abs(*p); err != nil {
			return fmt.Errorf("find %s: %w", *p, err)
		}
	}
	for _, name := range append([]string{m.Name}, m.WithoutStore...) {
		if err := checkName(name); err != nil {
			return err
		}
	}
	if err := checkListen("--listen", "udp", m.Listen); err != nil {
		return err
	}
	if err := checkListen("--metrics", "tcp", m.Metrics); m.Metrics != "" && err != nil {
		return err
	}
	if m.PathWatch < time.Second || m.PathWatch > 60*24*time.Hour {
		return usagef("--path-watch=%v is out of range: 1s to 60 days", m.PathWatch)
	}
	if inside(m.State, m.Dir) || inside(m.RingDir, m.Dir) || inside(m.Dir, m.State) {
		return usagef("the mount %s and the directories of the site (%s, %s) must lie outside of each other", m.Dir, m.State, m.RingDir)
	}
	for _, dir := range []string{m.State, m.RingDir} {
		if err := outsideOfSites(dir); err != nil {
			return err
		}
	}
	return m.checkMountPoint()
}

// outsideOfSites refuses a directory inside of a pairfs mount: what is written there would be volumes. It need not exist yet.
func outsideOfSites(dir string) error {
	at := dir
	for {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			at = real
			break
		}
		if filepath.Dir(at) == at {
			return nil
		}
		at = filepath.Dir(at)
	}
	all, err := mounts()
	if err != nil {
		return err
	}
	var on mountEntry
	for _, m := range all {
		if inside(at, m.Point) && len(m.Point) >= len(on.Point) {
			on = m
		}
	}
	if on.Type == mountType {
		return usagef("%s lies inside of the pairfs mount %s: give a directory outside of it", dir, on.Point)
	}
	return nil
}

// checkMountPoint wants a directory that is no mount of ours yet. A mount whose daemon is dead passes; the daemon detaches it.
func (m *mountCmd) checkMountPoint() error {
	info, err := os.Stat(m.Dir)
	switch {
	case daemonGone(err):
		return nil
	case err != nil:
		if _, ours, terr := mountAt(m.Dir); terr == nil && ours {
			return nil // dying: what it answers meanwhile varies, and the daemon looks again
		}
		return fmt.Errorf("mount at %s: %w; make the directory first", m.Dir, err)
	case !info.IsDir():
		return fmt.Errorf("mount at %s: it is not a directory", m.Dir)
	}
	if _, mounted, err := mountAt(m.Dir); err != nil || mounted {
		if err == nil && daemonGone(unix.Statfs(m.Dir, &unix.Statfs_t{})) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%s is mounted already; pairfs umount %s ends that site", m.Dir, m.Dir)
		}
		return err
	}
	return nil
}

// daemonGone reports whether a mount gave this error because its daemon is dead, or dying at this moment.
func daemonGone(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// checkListen refuses what nothing can listen at before a site is made for it.
func checkListen(flag, network, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("%s=%s is not HOST:PORT: %v", flag, addr, err)
	}
	if _, err := net.LookupPort(network, port); err != nil {
		return usagef("%s=%s has no port that can be listened at: give one from 1 to 65535, or 0 for a free one", flag, addr)
	}
	return nil
}

// inside reports whether path is dir or below it.
func inside(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// background starts the daemon in a session of its own and waits until it says that the mount answers, or why not.
func (m *mountCmd) background(a *app) error {
	log, err := openLog(m.State)
	if err != nil {
		return err
	}
	defer log.Close()
	from, to, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe to the daemon: %w", err)
	}
	defer from.Close()
	cmd := exec.Command("/proc/self/exe", "mount", "--state="+m.State, "--name="+m.Name, "--listen="+m.Listen,
		"--memory="+strconv.FormatInt(int64(m.Memory), 10), "--ring-dir="+m.RingDir,
		"--path-watch="+m.PathWatch.String(), "--metrics="+m.Metrics, "--ready-fd=3", "--", m.Dir)
	if m.WithoutRing {
		cmd.Args = slices.Insert(cmd.Args, 2, "--without-ring")
	}
	for _, volume := range m.WithoutStore {
		cmd.Args = slices.Insert(cmd.Args, 2, "--without-store="+volume)
	}
	cmd.Args[0] = os.Args[0]
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{to}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	to.Close()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	stop := context.AfterFunc(a.ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	verdict, err := io.ReadAll(io.LimitReader(bufio.NewReader(from), maxText))
	said, notes, _ := strings.Cut(strings.TrimSpace(string(verdict)), "\n")
	switch {
	case err != nil:
		return fmt.Errorf("wait for the daemon: %w", err)
	case said == "":
		_ = cmd.Wait()
		return fmt.Errorf("the daemon ended before its mount answered (%v); the reason is in %s", cmd.ProcessState, log.Name())
	case said != readyWord:
		_ = cmd.Wait()
		return errors.New(strings.TrimSpace(string(verdict)))
	}
	for note := range strings.Lines(notes) {
		fmt.Fprintf(a.stderr, "pairfs: %s\n", strings.TrimSpace(note))
	}
	if err := m.answers(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// readyWord is what the daemon writes into the pipe when it serves, with a line for each warning behind it; anything else is a sentence why it does not.
const readyWord = "ready"

// answers asks the mount for its file system type: the daemon must not, for it serves the mount.
func (m *mountCmd) answers() error {
	var st unix.Statfs_t
	if err := unix.Statfs(m.Dir, &st); err != nil {
		return fmt.Errorf("the mount at %s does not answer: %w; see %s", m.Dir, err, filepath.Join(m.State, logName))
	}
	if st.Type != unix.FUSE_SUPER_MAGIC {
		return fmt.Errorf("the mount at %s is gone again; see %s", m.Dir, filepath.Join(m.State, logName))
	}
	return nil
}

// daemon runs the site in this process until it is told to stop.
func (m *mountCmd) daemon(a *app) error {
	logTo := a.stderr
	if m.ReadyFD >= 0 {
		logTo = &rotatingLog{dir: m.State}
	}
	base := slog.New(slog.NewTextHandler(logTo, nil))
	log := base.With("site", m.Name)
	if err := m.harden(); err != nil {
		return m.report(err)
	}
	d := &siteDaemon{cfg: m, base: base, log: log, ready: func(warnings []string) error {
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nMAINPID="+strconv.Itoa(os.Getpid()))
		return m.report(nil, warnings...)
	}}
	if err := d.run(a.ctx); err != nil {
		if !d.served {
			return m.report(err)
		}
		log.Error("stopped, but not cleanly", "error", err)
		return err
	}
	return nil
}

// report tells the waiting parent how it went, once; without a parent it does nothing. It returns err, or what telling it met.
func (m *mountCmd) report(err error, warnings ...string) error {
	if m.ReadyFD < 0 {
		return err
	}
	word := strings.Join(append([]string{readyWord}, warnings...), "\n")
	if err != nil {
		word = err.Error()
	}
	pipe := os.NewFile(uintptr(m.ReadyFD), "pipe to the parent")
	m.ReadyFD = -1
	if _, werr := pipe.WriteString(word); err == nil && werr != nil {
		err = fmt.Errorf("tell the parent: %w", werr)
	}
	pipe.Close()
	return err
}

// warnings are the sentences of a start that an operator should read at once.
func warnings(events []replica.Event) (said []string) {
	for _, e := range events {
		if e.Level == "warn" || e.Level == "error" {
			said = append(said, e.Object+": "+e.Text)
		}
	}
	return said
}

// harden sets up the process of a daemon: memory, threads, and no core dumps, which would hold the key and the data of the volumes.
func (m *mountCmd) harden() error {
	unix.Umask(0o077)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// A thread inside a blocking call keeps its processor for up to 10 ms; more processors than cores keep the others served.
		runtime.GOMAXPROCS(max(4, runtime.NumCPU()))
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		// The rings are not in the heap. What is, buffers and their garbage, stays within twice the bound; a soft limit.
		debug.SetMemoryLimit(2*int64(m.Memory) + 64<<20)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("leave the working directory: %w", err)
	}
	return nil
}
