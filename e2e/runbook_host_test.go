package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runbookHost is a host as a runbook sees it: one mount of pairfs, and a place for the file system that is in its volume. Its daemon is started by
// the commands of the runbook, in the background. The methods of [Site] that speak to a running site work; those that start and end its
// process do not, for that is no child of the test.
type runbookHost struct {
	*Site
	Srv    string // where the service's file system is mounted
	Backup string // a folder outside of pairfs

	peer    *runbookHost
	disk    string // folder of State that is on a disk of its own, "" if there is none
	platter string // where the bytes of that disk are
	bin     string // folder with the binary under the name pairfs
	words   *strings.Replacer
}

// blockLimit ends a block of a runbook that hangs.
const blockLimit = 2 * StatusLimit

// runbookHosts makes two hosts whose sites were never started, and the link between them. What stands in a runbook is replaced by what is here:
//
//	/mnt/tokyo       the mount, and so for osaka
//	/var/tmp/tokyo   the state directory
//	192.0.2.1:7001   tokyo's address: on tokyo that of its listener, on osaka that of the proxy before it; 192.0.2.2:7001 is osaka's
//	/srv/db          the host's own place for its file system: here both hosts are one
//	/backup          its own folder outside of pairfs
//	--size=4G        a size that is made in no time
//	$TOKYO_KEY       variables that hold the keys
//
// pairfs finds its mount by PAIRFS_MOUNT, which stands for there being one on each host.
func runbookHosts(t T) (a, b *runbookHost, link *Link) {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(Binary(), filepath.Join(bin, "pairfs")); err != nil {
		t.Fatalf("%v", err)
	}
	a, b = newHost(t, "tokyo", bin), newHost(t, "osaka", bin)
	a.peer, b.peer = b, a
	link = NewLink(t, a.Site, b.Site, Seed(t))
	for _, h := range []*runbookHost{a, b} {
		tokyo, osaka := a.Listen, b.Listen
		if h == a {
			osaka = link.AddrB()
		} else {
			tokyo = link.AddrA()
		}
		h.words = strings.NewReplacer("/mnt/tokyo", a.Mnt, "/mnt/osaka", b.Mnt, "/var/tmp/tokyo", a.State, "/var/tmp/osaka", b.State,
			"192.0.2.1:7001", tokyo, "192.0.2.2:7001", osaka, "/srv/db", h.Srv, "/backup", h.Backup, "--size=4G", "--size=16M")
	}
	return a, b, link
}

func newHost(t T, name, bin string) *runbookHost {
	t.Helper()
	dir := t.TempDir()
	h := &runbookHost{Site: &Site{Name: name, t: t, Mnt: filepath.Join(dir, "mnt"), State: filepath.Join(dir, "state"), Listen: freePort(t)},
		Srv: filepath.Join(dir, "srv"), Backup: filepath.Join(dir, "backup"), bin: bin}
	t.Cleanup(h.end)
	for _, d := range []string{h.Mnt, h.State, h.Srv, h.Backup} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return h
}

// ownDisk puts a folder of the state directory on a disk of its own: a loop device whose bytes are in memory.
func (h *runbookHost) ownDisk(folder string) {
	h.t.Helper()
	h.disk, h.platter = filepath.Join(h.State, folder), filepath.Join(filepath.Dir(h.State), "platter")
	for _, d := range []string{h.disk, h.platter} {
		if err := os.Mkdir(d, 0o700); err != nil {
			h.t.Fatalf("%v", err)
		}
	}
	if err := unix.Mount("tmpfs", h.platter, "tmpfs", 0, "mode=700,size=80M"); err != nil {
		h.t.Fatalf("mount %s: %v", h.platter, err)
	}
	image := filepath.Join(h.platter, "image")
	h.Must(fmt.Sprintf("truncate -s 72M %s; mkfs.ext4 -q -O ^has_journal %s; mount -o loop %s %s; rmdir %s/lost+found; chmod 700 %s",
		image, image, image, h.disk, h.disk, h.disk))
}

// failDisk makes that disk fail: from now on most of its writes are EIO. What was written is lost but for what the kernel has of it.
func (h *runbookHost) failDisk() {
	h.t.Helper()
	h.Must(fmt.Sprintf("truncate -s 1M %s/image; dd if=/dev/zero of=%s/filler bs=64K status=none || test -s %s/filler", h.platter, h.platter, h.platter))
}

// newDisk takes the disk away, if there is one, and leaves an empty one in its place. The site does not run.
func (h *runbookHost) newDisk() {
	h.t.Helper()
	if h.disk == "" {
		return
	}
	if err := unix.Unmount(h.disk, 0); err != nil {
		h.t.Fatalf("unmount the failed disk %s: %v", h.disk, err)
	}
}

// Paste gives lines to a shell of the host, each of which has to succeed, and returns what they printed.
func (h *runbookHost) Paste(lines string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), blockLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", h.words.Replace(lines))
	cmd.Env = append(os.Environ(), "PATH="+h.bin+":"+os.Getenv("PATH"), "PAIRFS_MOUNT="+h.Mnt)
	for _, h := range []*runbookHost{h, h.peer} {
		if name := "$" + strings.ToUpper(h.Name) + "_KEY"; strings.Contains(lines, name) {
			cmd.Env = append(cmd.Env, name[1:]+"="+h.key())
		}
	}
	cmd.Dir = h.Backup
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done within %v", blockLimit)
	}
	return string(out), err
}

// Must pastes lines that are no part of a runbook and fails the test if one fails.
func (h *runbookHost) Must(lines string) {
	h.t.Helper()
	if out, err := h.Paste(lines); err != nil {
		h.t.Fatalf("on %s: %s: %v\n%s", h.Name, lines, err, out)
	}
}

// Crash kills the daemon and takes away what a host that went down takes with it: the mounts.
func (h *runbookHost) Crash() {
	h.t.Helper()
	h.kill(int(h.Int("site", "pid")), unix.SIGKILL)
	unix.Unmount(h.Srv, unix.MNT_DETACH)
	if err := unix.Unmount(h.Mnt, unix.MNT_DETACH); err != nil {
		h.t.Fatalf("detach the mount of the killed site %s: %v", h.Name, err)
	}
}

// kill sends a signal to a process that is not a child and waits for its end.
func (h *runbookHost) kill(pid int, sig unix.Signal) {
	h.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		h.t.Fatalf("watch the daemon of site %s: %v", h.Name, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		h.t.Fatalf("end the daemon of site %s: %v", h.Name, err)
	}
	deadline := time.Now().Add(stopLimit)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			h.t.Fatalf("wait for the daemon of site %s: %v", h.Name, err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			h.t.Fatalf("the daemon of site %s did not end within %v", h.Name, stopLimit)
		}
	}
}

// end leaves no process, mount, loop device or ring behind, and shows what a failed test needs.
func (h *runbookHost) end() {
	log, _ := os.ReadFile(filepath.Join(h.State, "log"))
	if h.t.Failed() {
		out, _ := h.Paste("pairfs status; pairfs group list; pairfs events --no-follow | tail -n 30")
		h.t.Logf("site %s:\n%s\nlog:\n%s", h.Name, out, lastLines(string(log), 60))
	}
	for _, word := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(string(log), word); at >= 0 {
			h.t.Errorf("site %s: %.4000s", h.Name, log[at:])
		}
	}
	for unix.Unmount(h.Srv, unix.MNT_DETACH) == nil {
	}
	if text, err := h.Text("site"); err == nil {
		var pid int
		fmt.Sscan(parseState(text)["pid"], &pid)
		h.kill(pid, unix.SIGTERM)
	}
	for unix.Unmount(h.Mnt, unix.MNT_DETACH) == nil {
	}
	os.RemoveAll(h.rings())
	if h.disk != "" {
		unix.Unmount(h.disk, unix.MNT_DETACH)
		unix.Unmount(h.platter, unix.MNT_DETACH)
	}
}

// key is the public key of the site, empty while there is none.
func (h *runbookHost) key() string {
	if _, err := os.Stat(filepath.Join(h.State, "key.pem")); err != nil {
		return ""
	}
	out, err := exec.Command(Binary(), "key", "--state", h.State).Output()
	if err != nil {
		h.t.Errorf("the key of site %s: %v", h.Name, err)
	}
	return strings.TrimSpace(string(out))
}

// rings is the folder of the site's staging rings, which is named after its key.
func (h *runbookHost) rings() string {
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(h.key(), "SHA256:"))
	if err != nil || len(key) < 4 {
		h.t.Errorf("the key of site %s is %q: %v", h.Name, h.key(), err)
		return filepath.Join(h.State, "no-rings")
	}
	return filepath.Join("/dev/shm", fmt.Sprintf("pairfs-%s-%x", h.Name, key[:4]))
}
