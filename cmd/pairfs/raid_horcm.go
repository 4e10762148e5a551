package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// horcmMax bounds a configuration file, in bytes.
const horcmMax = 1 << 20

// horcm is the configuration of an instance, in the form of RAID Manager's horcmN.conf:
//
//	HORCM_CMD
//	/mnt/tokyo                       # the mount of the site: what the command device is to an array
//	HORCM_LDEV
//	oradb  data1  -  db-data  0      # group, name for -d, (serial number, not looked at), volume, mirror
//	HORCM_INST
//	oradb  osaka                     # group, peer
//
// HORCM_CMD is needed. With HORCM_LDEV a group is the volumes that are listed for it; without, it is the journal group of its name. HORCM_INST
// says which peer paircreate means where the group has none yet. HORCM_MON is not looked at: nothing is polled.
type horcm struct {
	file  string
	mount string
	devs  []horcmDev
	peers map[string]string // by group
}

// horcmDev is one volume of a group.
type horcmDev struct {
	group, name, volume string
}

// instanceForm is what may follow -I: the kind of copy, then the number.
var instanceForm = regexp.MustCompile(`^(H|TC|CA|M|SI|BC)?([0-9]{0,4})$`)

// instance says which instance -I or HORCMINST names, "" for none, and refuses one for local copies.
func instance(given string, env func(string) string) (string, error) {
	f := instanceForm.FindStringSubmatch(given)
	if f == nil {
		return "", raidf(exINVARG, "-I%s names no instance: it is -I, -IH or -ICA and a number", given)
	}
	kind, number := f[1], f[2]
	if kind == "" && env("HORCC_MRCF") != "" {
		return "", raidf(exINVMOD, "HORCC_MRCF asks for local copies, and there are none here; -IH means remote pairs all the same")
	}
	if slices.Contains([]string{"M", "SI", "BC"}, kind) {
		return "", raidf(exINVMOD, "-I%s asks for local copies, and there are none here; -IH means remote pairs", given)
	}
	if number != "" {
		return number, nil
	}
	n := env("HORCMINST")
	if strings.Trim(n, "0123456789") != "" || len(n) > 4 {
		return "", raidf(exINVARG, "HORCMINST=%q names no instance: it is a number", n)
	}
	return n, nil
}

// attach finds the configuration of the instance, and with it the site.
func (r *raidCall) attach() error {
	n, err := instance(r.args.value("-I", ""), os.Getenv)
	if err != nil || n == "" {
		return err
	}
	dir := os.Getenv("PAIRFS_HORCM_DIR")
	if dir == "" {
		dir = "/etc"
	}
	r.conf, err = readHorcm(filepath.Join(dir, "horcm"+n+".conf"))
	if err != nil {
		return raidf(exATTHOR, "instance %s: %w", n, err)
	}
	r.app.mount = mountFlag(r.conf.mount)
	return nil
}

// readHorcm reads a configuration.
func readHorcm(file string) (*horcm, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("it is configured by a file that cannot be read: %w; without an instance the mount is found as by pairfs", err)
	}
	defer f.Close()
	return parseHorcm(file, io.LimitReader(f, horcmMax))
}

// parseHorcm reads the sections. A section or line that is not understood is an error: what it means would be missing.
func parseHorcm(file string, text io.Reader) (*horcm, error) {
	h := &horcm{file: file, peers: map[string]string{}}
	section := ""
	lines := bufio.NewScanner(text)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case strings.HasPrefix(words[0], "HORCM_"):
			section = words[0]
		default:
			if err := h.line(section, words); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, n, err)
			}
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("read %s: %w", file, lines.Err())
	case h.mount == "":
		return nil, fmt.Errorf("%s names no site: put its mount below HORCM_CMD", file)
	}
	return h, nil
}

// line takes one line of a section.
func (h *horcm) line(section string, words []string) error {
	switch section {
	case "HORCM_MON":
		return nil
	case "HORCM_CMD":
		if h.mount != "" || len(words) != 1 || !filepath.IsAbs(words[0]) {
			return fmt.Errorf("HORCM_CMD is one line with the path of one mount")
		}
		h.mount = words[0]
		return nil
	case "HORCM_LDEV":
		if len(words) < 4 || len(words) > 5 {
			return fmt.Errorf("a line of HORCM_LDEV is GROUP NAME SERIAL VOLUME [MU]")
		}
		if err := onlyMirror0(words[4:]); err != nil {
			return err
		}
		h.devs = append(h.devs, horcmDev{words[0], words[1], words[3]})
		return nil
	case "HORCM_INST", "HORCM_INSTP":
		if len(words) < 2 {
			return fmt.Errorf("a line of %s is GROUP PEER", section)
		}
		h.peers[words[0]] = words[1]
		return nil
	case "HORCM_DEV":
		return fmt.Errorf("HORCM_DEV names ports and LUNs, which volumes here have none of: use HORCM_LDEV")
	}
	return fmt.Errorf("%q is in no section that is known: HORCM_MON, HORCM_CMD, HORCM_LDEV, HORCM_INST", strings.Join(words, " "))
}

// of returns the volumes that are listed for a group.
func (h *horcm) of(group string) []horcmDev {
	var devs []horcmDev
	if h != nil {
		for _, d := range h.devs {
			if d.group == group {
				devs = append(devs, d)
			}
		}
	}
	return devs
}

// groupOf returns the first group that lists a volume by that name.
func (h *horcm) groupOf(name string) (group string, ok bool) {
	if h != nil {
		for _, d := range h.devs {
			if d.name == name {
				return d.group, true
			}
		}
	}
	return "", false
}

// peer returns the peer that is named for a group, "" if none is.
func (h *horcm) peer(group string) string {
	if h == nil {
		return ""
	}
	return h.peers[group]
}
