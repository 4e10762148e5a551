package fs

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWaitingWriteEndsWithItsProgram(t *testing.T) {
	c := serve(t)
	c.volume("v", 1<<20)
	c.do(order{Op: "full", Volume: "v", On: true})
	dd := exec.Command("dd", "if=/dev/zero", "of="+c.path("v"), "bs=4096", "count=1", "conv=notrunc")
	if err := dd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "dd has the volume open", func() bool { return c.do(order{Op: "look", Volume: "v"}).Handles[1] == 1 })
	if err := dd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	dd.Wait()
	if r := c.do(order{Op: "look", Volume: "v"}); len(r.Writes) != 0 {
		t.Errorf("%d writes", len(r.Writes))
	}
}

// Writes that wait for room on one volume stop neither other volumes nor the commands that end the wait.
func TestWaitingWritesLeaveRoomForCommands(t *testing.T) {
	const writers = 100
	c := serve(t)
	c.volume("full", 1<<20)
	c.volume("other", 1<<20)
	c.do(order{Op: "full", Volume: "full", On: true})
	var waiting []*exec.Cmd
	for range writers {
		dd := exec.Command("dd", "if=/dev/zero", "of="+c.path("full"), "bs=4096", "count=1", "conv=notrunc")
		if err := dd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dd.Process.Kill() })
		waiting = append(waiting, dd)
	}
	until(t, "all wait", func() bool { return c.do(order{Op: "look", Volume: "full"}).Waiting == writers })
	if _, err := os.ReadFile(c.path(".ctl/site")); err != nil {
		t.Error(err)
	}
	if out, err := c.shell("echo x | dd of=other conv=notrunc status=none && echo resync > .ctl/groups/g"); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	for _, dd := range waiting {
		dd.Process.Signal(unix.SIGTERM)
		dd.Wait()
	}
}
