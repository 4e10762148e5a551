package machine

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Config says what machine to boot.
type Config struct {
	Dir       string // an empty directory, for the machine's socket, console and disk; its path must be short (a Unix socket)
	Kernel    string // file of the kernel
	Initramfs string // file of the initramfs
	Image     string // what its disk holds; it is not changed
	Accel     string // qemu's accelerators in the order of preference, as "kvm:tcg"; software emulation
	Forward   string // UDP port of the machine and the address of this host behind which it lies, PORT=HOST:PORT; none
	Isolated  bool   // the machine reaches nobody
}

// bootLimit is how long a machine may take until its init answers. Software emulation on a loaded host takes half a minute.
const bootLimit = 5 * time.Minute

// Machine is a running machine. It answers its host by [Client].
type Machine struct {
	*Client
	Disk *Disk

	ln      net.Listener
	cmd     *exec.Cmd
	console string
	exited  chan struct{}
	exit    error
}

// Boot switches a machine on and returns when its init answers. End it with [Machine.Cut].
func Boot(c Config) (*Machine, error) {
	disk, err := NewDisk(c.Dir, c.Image)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(c.Dir, "disk.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	go disk.Serve(ln)
	m := &Machine{Disk: disk, ln: ln, console: filepath.Join(c.Dir, "console"), exited: make(chan struct{})}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	m.cmd = exec.Command("qemu-system-x86_64", c.args(socket, m.console, port)...)
	var stderr bytes.Buffer
	m.cmd.Stderr = &stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.exit = m.cmd.Wait()
		close(m.exited)
	}()
	if m.Client, err = m.connect(port); err != nil {
		console := m.Console()
		m.Cut()
		return nil, fmt.Errorf("%w; qemu said %q, and the console ends with:\n%s", err, strings.TrimSpace(stderr.String()), console)
	}
	return m, nil
}

// args are qemu's arguments: the least of a PC that has a disk with a write cache, a network, and a console that goes to a file.
func (c Config) args(socket, console string, port int) []string {
	accel := c.Accel
	if accel == "" {
		accel = "tcg"
	}
	network := fmt.Sprintf("user,id=net,hostfwd=tcp:127.0.0.1:%d-:%d", port, agentPort)
	if guest, host, ok := strings.Cut(c.Forward, "="); ok {
		network += ",hostfwd=udp:" + host + "-:" + guest
	}
	if c.Isolated {
		network += ",restrict=on"
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35,accel=" + accel, "-cpu", "max,la57=off", "-smp", "2", "-m", "768M",
		"-kernel", c.Kernel, "-initrd", c.Initramfs, "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off",
		"-serial", "file:" + console,
		"-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path=" + socket,
		"-device", "virtio-blk-pci,drive=disk,write-cache=on,discard=off,write-zeroes=off",
		"-netdev", network,
		"-device", "virtio-net-pci,netdev=net,romfile=",
	}
}

// freePort returns a TCP port of the loopback that nobody has now.
func freePort() (int, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// errNoBoot says that a machine did not come up.
var errNoBoot = errors.New("the machine did not boot")

// connect asks init until it answers. qemu accepts connections for the machine before anybody in it does, so only an answer counts.
func (m *Machine) connect(port int) (*Client, error) {
	deadline := time.NewTimer(bootLimit)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if c, err := dial(port); err == nil {
			return c, nil
		}
		select {
		case <-m.exited:
			return nil, fmt.Errorf("%w: qemu ended: %v", errNoBoot, m.exit)
		case <-deadline.C:
			return nil, fmt.Errorf("%w within %v", errNoBoot, bootLimit)
		case <-again.C:
		}
	}
}

// dial connects to init and has it answer something.
func dial(port int) (*Client, error) {
	conn, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return nil, err
	}
	c := &Client{rpc.NewClient(conn)}
	answer := make(chan error, 1)
	go func() {
		_, err := c.ReadFile("/proc/version")
		answer <- err
	}()
	select {
	case err = <-answer:
	case <-time.After(2 * time.Second):
		err = errNoBoot
	}
	if err != nil {
		c.rpc.Close()
		return nil, err
	}
	return c, nil
}

// Console returns what the machine printed last.
func (m *Machine) Console() string {
	b, _ := os.ReadFile(m.console)
	return string(b[max(0, len(b)-8<<10):])
}

// Cut cuts the machine's power and returns the moment: first nothing reaches the disk any more, then qemu is killed. The disk can give
// images of that moment and all before until [Machine.Close].
func (m *Machine) Cut() Moment {
	at := m.Disk.Off()
	m.cmd.Process.Kill()
	<-m.exited
	if m.Client != nil {
		m.rpc.Close()
	}
	return at
}

// CutAtFlush is [Machine.Cut] while a flush of the disk is under way, the next one within limit at which so many writes are in its cache.
func (m *Machine) CutAtFlush(writes int, limit time.Duration) Moment {
	select {
	case <-m.Disk.OffAtFlush(writes):
	case <-time.After(limit):
	}
	return m.Cut()
}

// Close lets the disk of a machine without power go.
func (m *Machine) Close() error { return errors.Join(m.ln.Close(), m.Disk.Close()) }
