package machine

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wanted are the kernel modules that a machine needs, by name. What the kernel has built in is not missed.
var wanted = []string{"virtio_pci", "virtio_blk", "virtio_net", "crc32c_generic", "ext4", "fuse"}

// Kernel is a kernel as its Debian package unpacks: boot/vmlinuz-* and lib/modules/* in one folder.
type Kernel struct {
	Image   string            // of the kernel
	modules map[string]string // files by the names of modules
	builtin []string          // names of modules that are part of the image
}

// FindKernel finds the kernel in a folder into which its package was unpacked.
func FindKernel(dir string) (*Kernel, error) {
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		return nil, fmt.Errorf("%s has %d kernels boot/vmlinuz-*, and needs one", dir, len(images))
	}
	k := &Kernel{Image: images[0], modules: map[string]string{}}
	err := filepath.WalkDir(filepath.Join(dir, "lib", "modules"), func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.Name() == "modules.builtin":
			b, err := os.ReadFile(path)
			for line := range strings.FieldsSeq(string(b)) {
				k.builtin = append(k.builtin, moduleName(line))
			}
			return err
		case strings.HasSuffix(path, ".ko"):
			k.modules[moduleName(path)] = path
		}
		return nil
	})
	return k, err
}

// moduleName is the name that the kernel gives the module in a file.
func moduleName(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")
}

// order appends the files of a module and of all that it needs, those first.
func (k *Kernel) order(files []string, name string) ([]string, error) {
	path, ok := k.modules[name]
	if !ok {
		if slices.Contains(k.builtin, name) {
			return files, nil
		}
		return nil, fmt.Errorf("the kernel %s has no module %s", k.Image, name)
	}
	if slices.Contains(files, path) {
		return files, nil
	}
	needs, err := moduleNeeds(path)
	if err != nil {
		return nil, err
	}
	for _, n := range needs {
		if files, err = k.order(files, n); err != nil {
			return nil, err
		}
	}
	return append(files, path), nil
}

// moduleNeeds returns the names of the modules that a module says it depends on.
func moduleNeeds(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("module %s has no .modinfo", path)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	var needs []string
	for entry := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			for n := range strings.SplitSeq(list, ",") {
				needs = append(needs, strings.ReplaceAll(n, "-", "_"))
			}
		}
	}
	return needs, nil
}

// Initramfs writes to path what the kernel unpacks as its first file system: init, the programs as /bin/NAME (both statically linked), and
// the modules that they need.
func (k *Kernel) Initramfs(path, init string, programs map[string]string) error {
	var files []string
	for _, name := range wanted {
		var err error
		if files, err = k.order(files, name); err != nil {
			return err
		}
	}
	var a archive
	for _, name := range []string{"bin", "lib", "mnt"} {
		a.dir(name)
	}
	var list strings.Builder
	for _, f := range files {
		name := "lib/" + filepath.Base(f)
		a.file(name, f, 0o644)
		list.WriteString("/" + name + "\n")
	}
	a.add(strings.TrimPrefix(modules, "/"), 0o100644, []byte(list.String()))
	a.file("init", init, 0o755)
	for name, f := range programs {
		a.file("bin/"+name, f, 0o755)
	}
	a.add("TRAILER!!!", 0, nil)
	if a.err != nil {
		return a.err
	}
	return os.WriteFile(path, a.buf.Bytes(), 0o600)
}

// archive is a cpio archive of the "newc" format.
type archive struct {
	buf bytes.Buffer
	ino int
	err error // the first one
}

func (a *archive) dir(name string) { a.add(name, 0o040755, nil) }

// file adds a file of this host.
func (a *archive) file(name, from string, mode int) {
	b, err := os.ReadFile(from)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.add(name, 0o100000|mode, b)
}

// add appends one entry: magic; inode, mode, uid, gid, links, mtime, size, device, its own device, length of the name, checksum, each as
// eight hexadecimal digits; the name and the data, each filled up to a multiple of four.
func (a *archive) add(name string, mode int, data []byte) {
	a.ino++
	a.buf.WriteString("070701")
	for _, field := range []int{a.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0} {
		fmt.Fprintf(&a.buf, "%08X", field)
	}
	a.buf.WriteString(name + "\x00")
	a.fill()
	a.buf.Write(data)
	a.fill()
}

func (a *archive) fill() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}
