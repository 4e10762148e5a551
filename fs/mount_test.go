package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUnmountWhileInUse(t *testing.T) {
	c := serve(t)
	f, err := os.OpenFile(c.volume("v", 4096), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := c.do(order{Op: "unmount"})
	if !r.Busy || !strings.Contains(r.Err, "still uses it") {
		t.Errorf("%+v", r)
	}
	if _, err := f.WriteAt([]byte("served"), 0); err != nil {
		t.Errorf("after a refused unmount: %v", err)
	}
	f.Close()
	if r := c.do(order{Op: "unmount"}); r.Err != "" {
		t.Error(r.Err)
	}
	if status := c.reap(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestUnmountEndsReadersOfEvents(t *testing.T) {
	c := serve(t)
	cat := exec.Command("cat", c.path(".ctl/events"))
	out, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	c.do(order{Op: "event", Text: "x"})
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if r := c.do(order{Op: "unmount"}); r.Err != "" {
		t.Error(r.Err)
	}
	if err := cat.Wait(); err != nil {
		t.Errorf("cat: %v", err)
	}
	c.reap()
}

func TestUnmountedBySomebodyElse(t *testing.T) {
	c := serve(t)
	if err := unix.Unmount(c.dir, 0); err != nil {
		t.Fatal(err)
	}
	if r := c.do(order{Op: "unmount"}); r.Err != "" {
		t.Error(r.Err)
	}
	c.reap()
}

func TestStartAfterTheDaemonDied(t *testing.T) {
	c := serve(t)
	f := c.open(c.volume("v", 4096), os.O_RDWR) // keeps the dead mount busy
	second := launch(t, c.dir)
	if r := second.answer(); !r.Busy || !strings.Contains(r.Err, "answers") {
		t.Errorf("a second mount over one that lives: %+v", r)
	}
	second.reap()
	c.cmd.Process.Kill()
	c.reap()
	_, err := os.Stat(c.path("v"))
	wantErrno(t, "a dead mount", err, unix.ENOTCONN)
	again := launch(t, c.dir)
	if r := again.answer(); r.Err != "" {
		t.Fatal(r.Err)
	}
	again.volume("w", 1)
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a handle of the dead mount still writes")
	}
}

func TestPanicEndsTheProcess(t *testing.T) {
	c := serve(t)
	f := c.open(c.volume("v", 4096), os.O_RDWR)
	c.do(order{Op: "panic", Volume: "v"})
	if _, err := f.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("the read succeeded")
	}
	if status := c.reap(); status != exitPanic {
		t.Errorf("exit status %d, want %d", status, exitPanic)
	}
	if err := unix.Unmount(c.dir, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

func TestMountPointIsChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "x"), "/no/such/directory"} {
		if r := launch(t, dir); true {
			if a := r.answer(); a.Err == "" {
				t.Errorf("mounted at %s", dir)
			}
			r.reap()
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	dir := mountDir(t)
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	c := launch(t, link)
	if a := c.answer(); a.Err != "" {
		t.Fatal(a.Err)
	}
	if typ, err := mountedAt(dir); typ != "fuse.pairfs" || err != nil {
		t.Errorf("%q, %v", typ, err)
	}
}

func TestMountLine(t *testing.T) {
	point, typ, ok := mountLine(`36 35 98:0 / /mnt/with\040blank rw,noatime master:1 shared:2 - fuse.pairfs pairfs rw`)
	if point != "/mnt/with blank" || typ != "fuse.pairfs" || !ok {
		t.Errorf("%q %q %v", point, typ, ok)
	}
	if _, _, ok := mountLine("nonsense"); ok {
		t.Error("nonsense was taken")
	}
}

// TestKilledWhileItStarts: a process that is killed at any moment behind its mount ends, and gives back what it held. It would not if it
// had a file of its own mount open: the end of the process flushes that file, and nobody is left to answer.
func TestKilledWhileItStarts(t *testing.T) {
	dir := mountDir(t)
	for i := range 40 {
		c := launch(t, dir)
		until(t, "the mount is there", func() bool {
			typ, err := mountedAt(dir)
			return err == nil && typ == "fuse."+fsType
		})
		time.Sleep(time.Duration(i%20) * 100 * time.Microsecond)
		c.cmd.Process.Kill()
		ended := make(chan error, 1)
		go func() { ended <- c.cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("start %d: the process does not die", i)
			unix.Unmount(dir, unix.MNT_FORCE) // fails, and aborts the connection all the same
			<-ended
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}
