package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// dumpLimit bounds what a dump reads from a mount that may not answer.
const dumpLimit = 3 * time.Second

// dump logs what the site says about itself and the end of its log.
func (s *Site) dump() {
	down := !s.Running() || s.hung.Load()
	n := 80
	if down { // its goroutines may be there
		n = 800
	}
	s.t.Logf("log of site %s (end):\n%s", s.Name, lastLines(s.Log(), n))
	if down {
		s.t.Logf("site %s is not running: %v", s.Name, s.exit)
		return
	}
	done := make(chan string, 1)
	go func() { done <- s.states() }()
	select {
	case text := <-done:
		s.t.Logf("state of site %s:\n%s", s.Name, text)
	case <-time.After(dumpLimit):
		s.t.Logf("site %s does not answer", s.Name)
		s.giveUp()
		s.t.Logf("its goroutines:\n%s", lastLines(s.Log(), 400))
	}
}

// states returns the text of every control file that does not block.
func (s *Site) states() string {
	var b strings.Builder
	filepath.WalkDir(s.ctlPath(""), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "kept.d" {
			return filepath.SkipDir // whole volumes, perhaps
		}
		if err != nil || d.IsDir() || d.Name() == "events" || d.Name() == "metrics" || d.Name() == "history" {
			return nil
		}
		text, _ := os.ReadFile(path)
		b.WriteString("== " + strings.TrimPrefix(path, s.Mnt) + "\n" + string(text))
		return nil
	})
	return b.String()
}

// lastLines returns the last n lines of text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
