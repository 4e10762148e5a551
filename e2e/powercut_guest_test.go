package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pairfs/e2e/machine"
)

// Where the site of a guest lies in its machine.
const (
	guestMnt    = "/mnt"
	guestState  = machine.DiskDir + "/tokyo"
	guestPort   = "7001"
	guestListen = "0.0.0.0:" + guestPort
)

// guest is the site tokyo in a machine.
type guest struct {
	t         *testing.T
	dir       string // for everything of it
	first     string // the image that its disk begins with: an empty ext4
	kernel    string
	initramfs string
	address   string // HOST:PORT under which this host reaches the site
	images    int
	machine   *running
}

// running is a machine with what it was booted from.
type running struct {
	*machine.Machine
	dir, image string
}

// forget lets the disk of a machine without power go, with its files.
func (r *running) forget() {
	r.Close()
	os.RemoveAll(r.dir)
	os.Remove(r.image)
}

// newGuest builds what a machine needs; PAIRFS_KERNEL is the folder of an unpacked kernel. A binary that PAIRFS_BIN names must be static.
func newGuest(t *testing.T, first string) *guest {
	t.Helper()
	g := &guest{t: t, first: first, address: freePort(t)}
	var err error
	if g.dir, err = os.MkdirTemp("", "pairfs-vm-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.cleanup)
	init, bin := filepath.Join(g.dir, "init"), filepath.Join(g.dir, "pairfs")
	buildStatic(t, init, "pairfs/e2e/machine/init")
	if os.Getenv("PAIRFS_BIN") != "" {
		bin = Binary()
	} else {
		buildStatic(t, bin, "pairfs/cmd/pairfs")
	}
	k, err := machine.FindKernel(os.Getenv("PAIRFS_KERNEL"))
	if err != nil {
		t.Fatalf("%v; PAIRFS_KERNEL names the folder: `make powercut` unpacks one", err)
	}
	g.kernel, g.initramfs = k.Image, filepath.Join(g.dir, "initramfs")
	if err := k.Initramfs(g.initramfs, init, map[string]string{"pairfs": bin}); err != nil {
		t.Fatal(err)
	}
	Run(t, "truncate", "-s", fmt.Sprint(powerDisk), first)
	Run(t, "mkfs.ext4", "-q", first)
	return g
}

// buildStatic builds a program for the machine, which has no libraries.
func buildStatic(t *testing.T, path, pkg string) {
	t.Helper()
	build := exec.Command("go", "build", "-o", path, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
}

// image names a file for an image of the disk.
func (g *guest) image() string {
	g.images++
	return filepath.Join(g.dir, fmt.Sprintf("image%d", g.images))
}

// boot starts the machine from an image. An isolated one reaches nobody.
func (g *guest) boot(image string, isolated bool) {
	g.t.Helper()
	dir, err := os.MkdirTemp(g.dir, "m")
	if err != nil {
		g.t.Fatal(err)
	}
	c := machine.Config{
		Dir: dir, Kernel: g.kernel, Initramfs: g.initramfs, Image: image, Accel: os.Getenv("PAIRFS_ACCEL"), Isolated: isolated,
	}
	if !isolated {
		c.Forward = guestPort + "=" + g.address
	}
	m, err := machine.Boot(c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.machine = &running{m, dir, image}
}

// mountCommand starts the site.
func (g *guest) mountCommand() []string {
	return []string{"pairfs", "mount", "--state", guestState, "--name", "tokyo", "--listen", guestListen, guestMnt}
}

// start starts the site and returns when its mount answers.
func (g *guest) start() {
	g.t.Helper()
	if _, err := g.machine.Run(g.mountCommand()...); err != nil {
		g.t.Fatal(err)
	}
}

// stop stops the site, has its state directory verified, and unmounts the disk.
func (g *guest) stop() {
	g.t.Helper()
	for _, args := range [][]string{{"pairfs", "umount", guestMnt}, {"pairfs", "check", "--state", guestState}} {
		if _, err := g.machine.Run(args...); err != nil {
			g.t.Fatal(err)
		}
	}
	if err := g.machine.Release(); err != nil {
		g.t.Fatal(err)
	}
}

// do runs a command of pairfs in the machine.
func (g *guest) do(args ...string) string {
	g.t.Helper()
	out, err := g.machine.Run(append([]string{"pairfs", "--mount", guestMnt}, args...)...)
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// get returns the state in a control file.
func (g *guest) get(file string) map[string]string {
	g.t.Helper()
	b, err := g.machine.ReadFile(filepath.Join(guestMnt, ".ctl", file))
	if err != nil {
		g.t.Fatalf("read .ctl/%s in the machine: %v", file, err)
	}
	return parseState(string(b))
}

// introduce makes the site and one on this host peers.
func (g *guest) introduce(s *Site) {
	g.t.Helper()
	_, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		g.t.Fatal(err)
	}
	g.do("peer", "add", s.Name, net.JoinHostPort(machine.HostAddr, port), s.Fingerprint())
	s.Do("peers/tokyo", fmt.Sprintf("add address=%s key=%s create=1GiB", g.address, g.get("site")["fingerprint"]))
	g.awaitLink()
}

// awaitLink waits until the site is connected with osaka.
func (g *guest) awaitLink() {
	g.t.Helper()
	Until(g.t, LinkLimit, "tokyo is connected with osaka", func() bool { return g.get("peers/osaka")["connected"] == "yes" })
}

// awaitDrained waits until osaka holds everything that was written, durably.
func (g *guest) awaitDrained() {
	g.t.Helper()
	Until(g.t, StatusLimit, "the group has no lag", func() bool {
		return g.get("p-" + three[0])["status"] == "PAIR" && g.get("groups/g")["lag-records"] == "0"
	})
}

func (g *guest) makeVolume(name string, size int64) {
	g.t.Helper()
	f, err := g.machine.Open(filepath.Join(guestMnt, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		g.t.Fatalf("make volume %s in the machine: %v", name, err)
	}
}

// targets are the volumes, for writing and for checking while the machine that runs now has power.
func (g *guest) targets() []Target {
	m := g.machine
	open := func(path string, flags int) (File, error) { return m.Open(path, flags) }
	var out []Target
	for i, v := range three {
		out = append(out, Target{Volume: i, Path: filepath.Join(guestMnt, v), Size: powerSize, Open: open})
	}
	return out
}

// cleanup ends the machine, and says what its site logged if the test failed.
func (g *guest) cleanup() {
	if g.machine != nil {
		if g.t.Failed() {
			b, _ := g.machine.ReadFile(guestState + "/log")
			g.t.Logf("log of site tokyo (end):\n%s\nconsole of its machine (end):\n%s", lastLines(string(b), 80), lastLines(g.machine.Console(), 30))
		}
		g.machine.Cut()
		g.machine.Close()
	}
	os.RemoveAll(g.dir)
}
