package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// answerFor is how long one process may take to be looked at. One that is blocked inside of the kernel never answers: reading a link of
	// it waits for a lock that it holds.
	answerFor = 500 * time.Millisecond
	// searchFor bounds the whole search.
	searchFor = 3 * time.Second
)

// procSearch looks for the holders of a mount among the processes. One that did not answer is not asked again.
type procSearch struct {
	root   string        // /proc
	answer time.Duration // for one process
	all    time.Duration // for all of them

	mu     sync.Mutex
	silent map[string]bool
}

// processes is the search of this host.
var processes = &procSearch{root: "/proc", answer: answerFor, all: searchFor, silent: map[string]bool{}}

// holders names each process that holds the mount, with one file that it holds, and those that did not answer.
func (s *procSearch) holders(m mountEntry, self int) (found, silent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirs, err := os.ReadDir(s.root)
	if err != nil {
		return nil, nil
	}
	end := time.Now().Add(s.all)
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err != nil || pid == self {
			continue
		}
		what, answered := "", false
		if left := time.Until(end); left > 0 && !s.silent[d.Name()] {
			what, answered = s.ask(m, d.Name(), min(s.answer, left))
			s.silent[d.Name()] = !answered
		}
		switch {
		case !answered:
			silent = append(silent, "process "+d.Name())
		case what != "":
			found = append(found, what)
		}
	}
	return found, silent
}

// ask looks at one process. The goroutine of one that does not answer ends when it does, or with this program.
func (s *procSearch) ask(m mountEntry, pid string, atMost time.Duration) (what string, answered bool) {
	said := make(chan string, 1)
	go func() {
		proc := filepath.Join(s.root, pid)
		what := held(m, proc)
		if what != "" {
			name, _ := os.ReadFile(filepath.Join(proc, "comm"))
			what = fmt.Sprintf("process %s %s (%s)", pid, bytes.TrimSpace(name), what)
		}
		said <- what
	}()
	late := time.NewTimer(atMost)
	defer late.Stop()
	select {
	case what = <-said:
		return what, true
	case <-late.C:
		return "", false
	}
}
