package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mountType is how a mount of ours shows in the mount table.
const mountType = "fuse.pairfs"

// mountEntry is one line of /proc/self/mountinfo.
type mountEntry struct {
	ID    int    // mount id, as in /proc/PID/fdinfo
	Dev   string // major:minor of the file system
	Point string // absolute path
	Type  string // type of the file system
}

// mounts reads the mount table of this process.
func mounts() ([]mountEntry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	defer f.Close()
	var all []mountEntry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			all = append(all, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return all, nil
}

// parseMount reads one line: "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE SUPEROPTIONS".
func parseMount(line string) (mountEntry, bool) {
	front, back, ok := strings.Cut(line, " - ")
	f, b := strings.Fields(front), strings.Fields(back)
	if !ok || len(f) < 6 || len(b) < 1 {
		return mountEntry{}, false
	}
	id, err := strconv.Atoi(f[0])
	if err != nil {
		return mountEntry{}, false
	}
	return mountEntry{ID: id, Dev: f[2], Point: unescapeMount(f[4]), Type: b[0]}, true
}

// unescapeMount undoes the \040 form in which the table writes blanks, tabs, newlines and backslashes.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountAt returns the topmost mount of ours at point.
func mountAt(point string) (m mountEntry, ok bool, err error) {
	all, err := mounts()
	for _, e := range all {
		if e.Point == point {
			m, ok = e, e.Type == mountType
		}
	}
	return m, ok, err
}

// findMount returns the mount that a command is meant for: the named one, or the only one of the host.
func findMount(named string) (string, error) {
	if named != "" {
		point, err := absolute(named)
		if err != nil {
			return "", err
		}
		_, ok, err := mountAt(point)
		if err != nil {
			return "", err
		}
		if !ok {
			return "", fmt.Errorf("%s is not a pairfs mount; start one with pairfs mount, or see findmnt -t %s", named, mountType)
		}
		return point, nil
	}
	all, err := mounts()
	if err != nil {
		return "", err
	}
	var points []string
	for _, e := range all {
		if e.Type == mountType {
			points = append(points, e.Point)
		}
	}
	switch len(points) {
	case 0:
		return "", fmt.Errorf("no pairfs mount on this host; start one with pairfs mount")
	case 1:
		return points[0], nil
	}
	return "", fmt.Errorf("this host has several pairfs mounts: %s; say which with --mount or PAIRFS_MOUNT", strings.Join(points, ", "))
}

// absolute returns the path as the mount table shows it, without touching the last element: a mount whose daemon died answers nothing.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	full := filepath.Join(dir, filepath.Base(abs))
	if target, err := os.Readlink(full); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		return filepath.Clean(target), nil
	}
	return full, nil
}
