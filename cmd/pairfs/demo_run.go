package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// start mounts a site and learns its key and address.
func (d *demo) start(s *demoSite) error {
	if err := os.Mkdir(s.site.mnt, 0o700); err != nil {
		return fmt.Errorf("make the mount point of %s: %w", s.name, err)
	}
	if err := d.pairfs("mount", "--state", s.name+".state", "--name", s.name, "--listen", "127.0.0.1:0", "--ring-dir", d.rings, s.name); err != nil {
		return err
	}
	st, err := s.site.read("site")
	if err != nil {
		return err
	}
	s.fingerprint, s.listen = st.get("fingerprint"), st.get("listen")
	return nil
}

// leave keeps everything running and says what to try.
func (d *demo) leave() error {
	d.chapter("Both sites go on")
	tokyo, osaka := d.sites[0].name, d.sites[1].name
	d.say("Try next:\n  cd %s", d.dir)
	d.say("  %s --mount %s status --watch\n  %s --mount %s events", d.me, tokyo, d.me, osaka)
	d.say("  cat %s/.ctl/%s\n  echo suspend > %s/.ctl/%s", tokyo, demoPair, tokyo, demoPair)
	end := fmt.Sprintf("  %s umount %s && %s umount %s", d.me, tokyo, d.me, osaka)
	if d.relay != nil {
		if err := d.relay.do("keep"); err != nil {
			return err
		}
		d.say("Cut the link, restore it:\n  kill -USR1 %d\n  kill -USR2 %d", d.relay.pid(), d.relay.pid())
		end += fmt.Sprintf("\n  kill %d", d.relay.pid())
	}
	d.say("End it all:\n%s\n  rm -r %s %s", end, d.dir, d.rings)
	return nil
}

// cleanup ends whatever the demo started and removes what it made. It runs after an interrupt too, and further ones are not heard, by the
// commands that it starts neither; each of them has a bound of its own.
func (d *demo) cleanup() error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	d.ctx = context.WithoutCancel(d.ctx)
	d.chapter("Cleaning up")
	var all error
	for _, s := range d.sites {
		if _, mounted, err := mountAt(s.site.mnt); err != nil || !mounted {
			continue
		}
		all = errors.Join(all, d.stop(s))
	}
	if d.relay != nil {
		all = errors.Join(all, d.relay.end())
	}
	if all != nil {
		return errors.Join(all, d.left())
	}
	if err := d.remove(); err != nil {
		return errors.Join(fmt.Errorf("remove what the demo made: %w", err), d.left())
	}
	d.say("Nothing is left. Try next:\n  %s demo --keep", d.me)
	d.say("  %s mount --state DIR --name SITE --listen HOST:PORT MNT\n  %s --help", d.me, d.me)
	return nil
}

// stop stops a site. Who interrupts the command that does so does not end the clean-up: it is tried again while the mount is there.
func (d *demo) stop(s *demoSite) error {
	var err error
	for range 3 {
		if err = d.pairfs("umount", s.name); err == nil {
			return nil
		}
		if _, mounted, terr := mountAt(s.site.mnt); terr == nil && !mounted {
			return nil
		}
	}
	return errors.Join(err, s.kill())
}

// left names everything of the demo that is still there.
func (d *demo) left() error {
	var there []string
	for _, dir := range []string{d.dir, d.rings} {
		if _, err := os.Lstat(dir); err == nil {
			there = append(there, dir)
		}
	}
	if len(there) == 0 {
		return nil
	}
	return fmt.Errorf("what is left is in %s: pairfs umount ends a site that still runs, then rm -r %s", strings.Join(there, " and "), strings.Join(there, " "))
}

// remove removes the working directory, or empties it if it was given. It stays on one file system: a mount that is still there is not
// touched.
func (d *demo) remove() error {
	if err := os.RemoveAll(d.rings); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.dir, e.Name())); err != nil {
			return err
		}
	}
	if !d.ownDir {
		return nil
	}
	return os.Remove(d.dir)
}

// kill ends a site that does not stop by itself and detaches its mount.
func (s *demoSite) kill() error {
	var all error
	if st, err := s.site.read("site"); err == nil {
		if pid, err := strconv.Atoi(st.get("pid")); err == nil {
			all = errors.Join(all, unix.Kill(pid, unix.SIGKILL))
		}
	}
	if _, mounted, err := mountAt(s.site.mnt); err == nil && mounted {
		all = errors.Join(all, unix.Unmount(s.site.mnt, unix.MNT_DETACH))
	}
	return all
}

// relayProcess is the running relay.
type relayProcess struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	ends []string // addresses of its ends
}

// startRelay starts the relay in a session of its own, so that a Ctrl-C meant for the demo does not cut the link under it.
func startRelay(targets ...string) (*relayProcess, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"demo-relay"}, targets...)...)
	cmd.Args[0] = os.Args[0]
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	r := &relayProcess{cmd: cmd, in: in, out: bufio.NewReader(out)}
	line, err := r.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the relay: %w", err), r.end())
	}
	r.ends = strings.Fields(line)
	return r, nil
}

// do tells the relay something and waits until it is done.
func (r *relayProcess) do(word string) error {
	if _, err := fmt.Fprintln(r.in, word); err != nil {
		return fmt.Errorf("tell the relay to %s: %w", word, err)
	}
	if _, err := r.out.ReadString('\n'); err != nil {
		return fmt.Errorf("tell the relay to %s: %w", word, err)
	}
	return nil
}

// pid is the process id.
func (r *relayProcess) pid() int { return r.cmd.Process.Pid }

// end ends the relay.
func (r *relayProcess) end() error {
	r.in.Close()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("end the relay: %w", err)
	}
	return nil
}
