package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

const (
	// demoImage and demoFiles are the image and what goes into it, from the directory of the demo.
	demoImage = "image"
	demoFiles = "files"
	// demoImageSize is the size of the image, as mkfs and truncate read it.
	demoImageSize = "64M"
	// Bounds of what goes into the image from each directory.
	demoFilesPerDir = 120
	demoBytesPerDir = 14 << 20
	demoLargestFile = 2 << 20
)

// demoFileDirs are where the files of the image come from: programs, libraries and texts that everybody may read.
var demoFileDirs = []string{"/usr/bin", "/usr/share", "/usr/lib"}

// makeImage makes an ext4 image that holds some hundred files of this host.
func (d *demo) makeImage() error {
	d.chapter("An ext4 image with some files of this host")
	fmt.Fprintf(d.out, "$ cd %s\n", shellLine([]string{d.dir}))
	files := filepath.Join(d.dir, demoFiles)
	if err := os.Mkdir(files, 0o700); err != nil {
		return fmt.Errorf("make a directory for the files of the image: %w", err)
	}
	count := 0
	for _, from := range demoFileDirs {
		n, err := d.gather(from, filepath.Join(files, filepath.Base(from)))
		if err != nil {
			return err
		}
		count += n
	}
	d.say("%d files, gathered in %s/%s", count, d.dir, demoFiles)
	_, err := d.run(true, "mkfs.ext4", "-q", "-F", "-d", demoFiles, demoImage, demoImageSize)
	return err
}

// gather copies some regular files below from into one directory and returns how many.
func (d *demo) gather(from, to string) (count int, err error) {
	if err := os.Mkdir(to, 0o755); err != nil {
		return 0, fmt.Errorf("gather files: %w", err)
	}
	var size int64
	err = filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() {
			return nil // what cannot be looked at is left out
		}
		info, err := e.Info()
		if err != nil || info.Size() == 0 || info.Size() > demoLargestFile || size+info.Size() > demoBytesPerDir {
			return nil
		}
		name := filepath.Join(to, strconv.Itoa(count)+"-"+e.Name())
		if err := copyFile(path, name); err != nil {
			return err
		}
		size += info.Size()
		if count++; count == demoFilesPerDir {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return count, fmt.Errorf("gather files from %s: %w", from, err)
	}
	return count, nil
}

// copyFile copies the bytes of one file.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// change writes two files into the file system on the volume of tokyo, as a host that has it mounted would.
func (d *demo) change(name string) error {
	for i, from := range []string{"/proc/self/exe", "/proc/self/mountinfo"} {
		local := name + "-" + strconv.Itoa(i)
		if err := copySome(from, filepath.Join(d.dir, local)); err != nil {
			return err
		}
		if _, err := d.run(false, "debugfs", "-w", "-R", "write "+local+" "+local, d.disk(d.sites[0])); err != nil {
			return err
		}
	}
	return nil
}

// copySome copies at most demoLargestFile bytes of a file.
func copySome(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("make a file to write: %w", err)
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, demoLargestFile))
	if err != nil {
		return fmt.Errorf("make a file to write: %w", err)
	}
	return os.WriteFile(to, b, 0o644)
}
