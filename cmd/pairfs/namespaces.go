package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A mount namespace that is made while a mount is there, of a container or a service with a private /tmp, has a copy of it. Unmounting takes away the
// one of this host, and the kernel goes on sending requests for the others.

// namespaceHolders names one process of each mount namespace that has the file system of that device, "major:minor".
func namespaceHolders(proc, dev string) []string {
	tables, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "mountinfo"))
	seen := map[string]bool{}
	var found []string
	for _, table := range tables {
		dir := filepath.Dir(table)
		space, err := os.Readlink(filepath.Join(dir, "ns", "mnt"))
		if err != nil || seen[space] {
			continue // it has ended, or one of its namespace was asked
		}
		seen[space] = true
		point, ok := mountedIn(table, dev)
		if !ok {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		if len(found) == maxHolders {
			return append(found, "and more")
		}
		found = append(found, fmt.Sprintf("%s (process %s) in a mount namespace of its own, at %s", strings.TrimSpace(string(name)), filepath.Base(dir), point))
	}
	return found
}

// mountedIn looks for a file system in a mount table.
func mountedIn(table, dev string) (point string, ok bool) {
	f, err := os.Open(table)
	if err != nil {
		return "", false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok && m.Dev == dev {
			return m.Point, true
		}
	}
	return "", false
}

// fuseConnections is where the kernel shows the connections of its FUSE file systems, by the number of their device.
const fuseConnections = "/sys/fs/fuse/connections"

// abortConnection lets the kernel end the requests of a file system in every mount namespace; dev is its device, "major:minor".
func abortConnection(dev string) error {
	_, minor, _ := strings.Cut(dev, ":")
	if _, err := strconv.Atoi(minor); err != nil {
		return fmt.Errorf("the device %q of the mount has no number", dev)
	}
	if err := os.WriteFile(filepath.Join(fuseConnections, minor, "abort"), []byte("1"), 0o200); err != nil {
		return fmt.Errorf("end its requests: %w", err)
	}
	return nil
}
