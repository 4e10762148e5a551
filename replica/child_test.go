package replica

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A child is a site in a process of its own, which can be killed as the kernel kills a daemon. It is this test binary, told by its
// environment to be one.

const childEnv = "PAIRFS_TEST_CHILD"

// childConfig is what a child is told.
type childConfig struct {
	StateDir, Name, Listen, RingDir string
	Memory                          int64
	PathWatch                       time.Duration
	Volumes                         []string // written by the child; none for one that only serves
	Writers                         int
	Seed, Run, Next                 uint64     // Next: how many writes the history has
	Kept                            *keptChild // keep or drop a set instead, and be killed on the way
}

func TestMain(m *testing.M) {
	if s := os.Getenv(childEnv); s != "" {
		if err := childMain(s); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childMain opens the site, says so, and writes until it is killed. It ends by itself only when its parent does.
func childMain(config string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	if c.Kept != nil {
		return c.Kept.run(c)
	}
	s, err := Open(context.Background(), Config{StateDir: c.StateDir, Name: c.Name, Listen: c.Listen, RingDir: c.RingDir, Memory: c.Memory, PathWatch: c.PathWatch})
	if err != nil {
		return err
	}
	told := &childStory{next: c.Next}
	told.say("ready")
	if len(c.Volumes) > 0 {
		for k := range c.Writers {
			go func() {
				if err := childWrite(s, c, uint64(k), told); err != nil {
					told.say("error %v", err)
				}
			}()
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// childStory is what a child says of its writes, which are numbered as they are told.
type childStory struct {
	mu   sync.Mutex
	next uint64
}

func (s *childStory) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf(format+"\n", args...) // one write each: a line is whole or absent
}

// issue says what is about to be done, and numbers it.
func (s *childStory) issue(o *op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	o.n = s.next
	fmt.Printf("issue %d %d %d %d %v\n", o.n, o.vol, o.block, o.len, o.zero)
}

// childWrite writes and discards for ever. What it is about to do is said before, that it was acknowledged behind it: so what the parent
// knows of the order is never more than what is true.
func childWrite(s *Site, c childConfig, k uint64, told *childStory) error {
	rng := newRand(c.Seed + k)
	for {
		o := &op{run: c.Run, unit: blockSize, vol: rng.IntN(len(c.Volumes)), len: 1 + rng.Int64N(4), zero: rng.IntN(12) == 0}
		if rng.IntN(30) == 0 {
			o.len = 256
		}
		o.block = rng.Int64N(duoSize/blockSize - o.len + 1)
		v, err := s.Volume(c.Volumes[o.vol])
		if err != nil {
			return err
		}
		told.issue(o)
		if o.zero {
			err = v.Discard(context.Background(), o.block*blockSize, o.len*blockSize)
		} else {
			_, err = v.WriteAt(context.Background(), o.payload(), o.block*blockSize, rng.IntN(50) == 0)
		}
		if err != nil {
			return err
		}
		told.say("ack %d", o.n)
	}
}

// child is the parent's end.
type child struct {
	t     testing.TB
	w     *writer // nil for one that only serves
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{}
	done  chan struct{}
	acks  atomic.Int64
}

// spawn opens the site of a node in a process of its own; if w is set the child writes its volumes.
func (n *node) spawn(w *writer, writers int, seed uint64) *child {
	n.t.Helper()
	c := childConfig{
		StateDir: n.cfg.StateDir, Name: n.cfg.Name, Listen: n.cfg.Listen, RingDir: n.cfg.RingDir, Memory: n.cfg.Memory,
		PathWatch: n.cfg.PathWatch, Writers: writers, Seed: seed,
	}
	if w != nil {
		c.Volumes, c.Run, c.Next = w.names, w.h.Run(), uint64(w.h.Len())
	}
	text, err := json.Marshal(c)
	must(n.t, err)
	k := &child{t: n.t, w: w, cmd: exec.Command(os.Args[0]), ready: make(chan struct{}), done: make(chan struct{})}
	k.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	k.cmd.Stderr = os.Stderr
	k.stdin, err = k.cmd.StdinPipe()
	must(n.t, err)
	out, err := k.cmd.StdoutPipe()
	must(n.t, err)
	must(n.t, k.cmd.Start())
	go k.listen(bufio.NewReader(out))
	n.t.Cleanup(k.kill)
	select {
	case <-k.ready:
	case <-k.done:
		n.t.Fatal("the child ended before it was ready")
	}
	return k
}

// listen puts what the child says into the history.
func (k *child) listen(r *bufio.Reader) {
	defer close(k.done)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return // a line that was cut off was not said
		}
		var o op
		switch {
		case line == "ready\n":
			close(k.ready)
		case scan(line, "issue %d %d %d %d %t\n", &o.n, &o.vol, &o.block, &o.len, &o.zero):
			if said := k.w.h.begin(o.vol, o.block, o.len, o.zero, false); said.n != o.n {
				k.t.Errorf("the child gave number %d to the write that is number %d", o.n, said.n)
			}
		case scan(line, "ack %d\n", &o.n):
			k.w.h.Ack(o.n)
			k.acks.Add(1)
		default:
			k.t.Errorf("the child said %q", line)
		}
	}
}

func scan(line, format string, args ...any) bool {
	n, err := fmt.Sscanf(line, format, args...)
	return err == nil && n == len(args)
}

// kill is kill -9. What the child had said before is in the history when it returns.
func (k *child) kill() {
	if k.cmd.ProcessState != nil {
		return
	}
	_ = k.cmd.Process.Kill()
	<-k.done
	if k.w != nil {
		k.w.h.FailAll()
	}
	_ = k.cmd.Wait() // it was killed, and says so
	k.stdin.Close()
}

// awaitAcks waits until the child had that many more writes acknowledged.
func (k *child) awaitAcks(more int64) {
	k.t.Helper()
	to := k.acks.Load() + more
	if err := waitFor(func() bool { return k.acks.Load() >= to }); err != nil {
		k.t.Fatalf("the child's writes stand still at %d: %v", k.acks.Load(), err)
	}
}
