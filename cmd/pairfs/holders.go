package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxHolders bounds how many holders are named; whoever must find them all has lsof(8).
const maxHolders = 20

// findHolders names who keeps a mount busy: processes with an open file, working directory, root, program or mapping on it, loop devices
// over its files, and other mounts below it. The process self is left out, and so are those who wait for events or for a marker: both
// waits end when the site unmounts. It reads links and tables only and never touches the mount.
// Processes that this user may not look into are not seen; those that do not answer are in silent.
func findHolders(m mountEntry, self int) (found, silent []string) {
	byProcess, silent := processes.holders(m, self)
	found = slices.Concat(loopHolders(m), mountHolders(m), byProcess)
	if len(found) > maxHolders {
		found = append(found[:maxHolders], fmt.Sprintf("and %d more", len(found)-maxHolders))
	}
	return found, silent
}

// loopHolders names the loop devices whose file is on the mount.
func loopHolders(m mountEntry) []string {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var found []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if file := strings.TrimSpace(string(b)); err == nil && inside(file, m.Point) {
			found = append(found, fmt.Sprintf("/dev/%s (%s)", strings.Split(f, "/")[3], file))
		}
	}
	return found
}

// mountHolders names the mounts below the mount.
func mountHolders(m mountEntry) []string {
	all, err := mounts()
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range all {
		if e.Point != m.Point && inside(e.Point, m.Point) {
			found = append(found, "the mount "+e.Point)
		}
	}
	return found
}

// held returns what one process has on the mount, "" for nothing.
func held(m mountEntry, proc string) string {
	for _, link := range []string{"cwd", "root", "exe"} {
		if target, err := os.Readlink(filepath.Join(proc, link)); err == nil && inside(target, m.Point) {
			return link + " " + target
		}
	}
	here := site{mnt: m.Point}
	waits := []string{here.path("events"), here.path("site")}
	fds, _ := os.ReadDir(filepath.Join(proc, "fd"))
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if slices.Contains(waits, target) {
			continue
		}
		if err == nil && (inside(target, m.Point) || onMount(m, filepath.Join(proc, "fdinfo", fd.Name()))) {
			return target
		}
	}
	return mapped(m, filepath.Join(proc, "maps"))
}

// onMount reports whether a file descriptor is on the mount by its id: the path alone misses a process in another root directory.
func onMount(m mountEntry, fdinfo string) bool {
	b, err := os.ReadFile(fdinfo)
	return err == nil && bytes.Contains(b, fmt.Appendf(nil, "mnt_id:\t%d\n", m.ID))
}

// mapped returns the first file of the mount that is mapped: lines are "RANGE PERMS OFFSET MAJOR:MINOR INODE PATH", the numbers in hex.
func mapped(m mountEntry, maps string) string {
	f, err := os.Open(maps)
	if err != nil {
		return ""
	}
	defer f.Close()
	dev := mapsDevice(m.Dev)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if w := strings.Fields(lines.Text()); len(w) >= 6 && w[3] == dev {
			return "mapping of " + strings.Join(w[5:], " ")
		}
	}
	return ""
}

// mapsDevice turns the major:minor of the mount table, decimal, into the form of maps, hex.
func mapsDevice(dev string) string {
	major, minor, _ := strings.Cut(dev, ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if err1 != nil || err2 != nil {
		return "?"
	}
	return fmt.Sprintf("%02x:%02x", ma, mi)
}
