package machine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Init is the first process of a machine: it makes what programs need, mounts the disk, and answers the host for ever. It returns only an
// error.
func Init() error {
	for _, m := range []struct{ what, dir, kind string }{
		{"proc", "/proc", "proc"}, {"sys", "/sys", "sysfs"}, {"dev", "/dev", "devtmpfs"},
		{"shm", "/dev/shm", "tmpfs"}, {"run", "/run", "tmpfs"}, {"tmp", "/tmp", "tmpfs"},
	} {
		if err := mount(m.what, m.dir, m.kind); err != nil {
			return err
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := mount(guestDev, DiskDir, "ext4"); err != nil {
		return err
	}
	for dev, addr := range map[string]string{"lo": "127.0.0.1", guestEther: guestAddr} {
		if err := interfaceUp(dev, addr); err != nil {
			return err
		}
	}
	os.Setenv("PATH", "/bin")
	os.Setenv("HOME", "/tmp")
	ln, err := net.Listen("tcp4", fmt.Sprintf(":%d", agentPort))
	if err != nil {
		return err
	}
	fmt.Println("init: ready")
	return ServeAgent(ln)
}

func mount(what, dir, kind string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(what, dir, kind, 0, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", what, dir, err)
	}
	return nil
}

// loadModules loads the modules that the image names; each comes behind those that it needs.
func loadModules() error {
	b, err := os.ReadFile(modules)
	if err != nil {
		return err
	}
	for path := range strings.FieldsSeq(string(b)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// interfaceUp gives a network interface its address and switches it on, as ifconfig does.
func interfaceUp(dev, addr string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(call uint, ip []byte) error {
		r, err := unix.NewIfreq(dev)
		if err != nil {
			return err
		}
		if err := r.SetInet4Addr(ip); err != nil {
			return err
		}
		return unix.IoctlIfreq(s, call, r)
	}
	if err := set(unix.SIOCSIFADDR, net.ParseIP(addr).To4()); err != nil {
		return fmt.Errorf("give %s the address %s: %w", dev, addr, err)
	}
	if err := set(unix.SIOCSIFNETMASK, []byte(guestMask)); err != nil {
		return fmt.Errorf("give %s its netmask: %w", dev, err)
	}
	r, err := unix.NewIfreq(dev)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("switch %s on: %w", dev, err)
	}
	return nil
}
