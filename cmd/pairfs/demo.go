package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// demoSpace is what the demo needs on disk: an image, its files, two volumes and two journals.
	demoSpace = 768 << 20
	// demoWait bounds each wait of the demo.
	demoWait = 60 * time.Second
	// demoTick is how often the demo looks whether what it waits for has come.
	demoTick = 100 * time.Millisecond
)

// demoCmd shows two sites on this host.
type demoCmd struct {
	Keep bool   `help:"Leave the two sites running."`
	Dir  string `placeholder:"DIR" help:"Empty directory to work in; a temporary one if absent."`
}

// Run gives the tour. Whatever happens, Ctrl-C included, it leaves nothing behind, unless told to.
func (c *demoCmd) Run(a *app) error {
	if err := c.possible(); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // when nobody reads any more, the tour fails at its next command and cleans up
	d, err := c.prepare(a)
	if err != nil {
		return err
	}
	err = d.tour()
	if err != nil && a.ctx.Err() != nil {
		err = errors.New("the demo was interrupted")
	}
	if c.Keep && a.ctx.Err() == nil {
		return errors.Join(err, d.leave())
	}
	return errors.Join(err, d.cleanup())
}

// possible says at once what this host lacks.
func (c *demoCmd) possible() error {
	if os.Geteuid() != 0 {
		return errors.New("the demo mounts file systems, which needs root; try it with sudo")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("this host has no FUSE: %w; load the kernel module fuse, or give the container /dev/fuse", err)
	}
	for _, tool := range []string{"mkfs.ext4", "e2fsck", "debugfs", "dd", "truncate", "sha256sum"} {
		if _, err := lookTool(tool); err != nil {
			return fmt.Errorf("the demo needs %s: %w; install e2fsprogs and coreutils", tool, err)
		}
	}
	return nil
}

// lookTool finds a program, also where only root's PATH leads.
func lookTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// prepare makes the working directory.
func (c *demoCmd) prepare(a *app) (*demo, error) {
	dir, own := c.Dir, c.Dir == ""
	var err error
	if own {
		dir, err = os.MkdirTemp("", "pairfs-demo-")
	} else if dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	d := &demo{ctx: a.ctx, out: a.stdout, dir: dir, ownDir: own, me: os.Args[0]}
	if filepath.Base(d.me) != d.me {
		if d.me, err = filepath.Abs(d.me); err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
	}
	if err = d.fits(); err == nil {
		// Rings of its own: a site that really is called tokyo has its rings in the usual place.
		d.rings, err = os.MkdirTemp("/dev/shm", "pairfs-demo-")
	}
	if err != nil {
		if own {
			err = errors.Join(err, os.Remove(dir))
		}
		return nil, err
	}
	for _, name := range []string{"tokyo", "osaka"} {
		d.sites = append(d.sites, &demoSite{name: name, site: site{mnt: filepath.Join(dir, name)}})
	}
	return d, nil
}

// demo is one tour.
type demo struct {
	ctx    context.Context
	out    io.Writer
	dir    string      // where all commands run
	me     string      // how this program is called from there
	rings  string      // directory on tmpfs for the staging rings
	ownDir bool        // the directory is the demo's to remove
	sites  []*demoSite // tokyo, the primary, and osaka
	relay  *relayProcess
}

// demoSite is one of the two sites.
type demoSite struct {
	name        string // of its mount below the directory of the demo, too
	site        site
	fingerprint string
	listen      string
}

// fits refuses a directory that is not empty or has too little room.
func (d *demo) fits() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("look into %s: %w", d.dir, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty; give the demo an empty directory", d.dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return fmt.Errorf("look for room in %s: %w", d.dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < demoSpace {
		return fmt.Errorf("the demo needs %d MiB and %s has %d MiB left; name another directory with --dir", demoSpace>>20, d.dir, free>>20)
	}
	return nil
}

// say prints a remark, in the form of a shell comment.
func (d *demo) say(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintf(d.out, "# %s\n", line)
	}
}

// chapter prints a heading.
func (d *demo) chapter(title string) { fmt.Fprintf(d.out, "\n#### %s\n", title) }

// pairfs runs this program itself and shows both the command and what it prints.
func (d *demo) pairfs(args ...string) error {
	_, err := d.exec(true, "pairfs", args...)
	return err
}

// run runs a program and shows the command, and what it prints if that is of interest.
func (d *demo) run(show bool, name string, args ...string) (string, error) {
	return d.exec(show, name, args...)
}

// exec runs one program; "pairfs" is this one.
func (d *demo) exec(show bool, name string, args ...string) (string, error) {
	path, shown := "/proc/self/exe", d.me
	if name != "pairfs" {
		found, err := lookTool(name)
		if err != nil {
			return "", err
		}
		path, shown = found, name
	}
	fmt.Fprintf(d.out, "$ %s\n", shellLine(append([]string{shown}, args...)))
	cmd := exec.CommandContext(d.ctx, path, args...)
	cmd.Args[0] = shown
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "PAIRFS_MOUNT=")
	// Ctrl-C goes to the foreground process group: only the demo is to hear it, and ends its commands itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = demoWait
	var both strings.Builder
	cmd.Stdout, cmd.Stderr = &both, &both
	if show {
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&both, d.out), io.MultiWriter(&both, d.out)
	}
	if err := cmd.Run(); err != nil {
		if !show {
			fmt.Fprint(d.out, both.String())
		}
		return both.String(), fmt.Errorf("%s: %w", filepath.Base(shown), err)
	}
	return both.String(), nil
}

// shellLine writes a command so that a shell reads it as it is.
func shellLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// until waits for a condition; what says what it is, for the sentence when it does not come.
func (d *demo) until(what string, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(d.ctx, demoWait)
	defer cancel()
	tick := time.NewTicker(demoTick)
	defer tick.Stop()
	for {
		ok, err := cond()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v in vain until %s", demoWait, what)
		case <-tick.C:
		}
	}
}
