package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// fsxEnv makes this program a tester's process.
	fsxEnv = "PAIRFS_E2E_FSX"
	// fsxOrderLimit ends a tester that does not answer: a page that nobody serves is waited for without end.
	fsxOrderLimit = 15 * time.Minute
)

// fsxSpec is a file of a tester.
type fsxSpec struct {
	Path        string
	Size, Limit int64
	Fixed       bool
}

// fsxOrder is what a tester is told, in a line of JSON.
type fsxOrder struct {
	Do    string    // begin, run, sync, close, drop, open, compare
	Seed  uint64    // begin
	Log   string    // begin: file of all operations, "" for none
	Files []fsxSpec // begin; open: where they are now
	Ops   int       // run
	File  int       // compare: with what is at Path
	Path  string
}

// fsxAnswer is what it says when it has done so.
type fsxAnswer struct {
	Error  string
	Number int // of the last operation
	Unsure int // pages that were written through a mapping and not synced when a daemon died
	Lost   int // those of them that are lost
}

// serveFsx makes this program a tester's process, if it was started as one, and does not return then.
func serveFsx() {
	if os.Getenv(fsxEnv) == "" {
		return
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var w fsxWorker
	for {
		var o fsxOrder
		if err := in.Decode(&o); err == io.EOF {
			os.Exit(0)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "a tester's process:", err)
			os.Exit(1)
		}
		var a fsxAnswer
		if err := w.obey(o); err != nil {
			a.Error = err.Error()
		}
		if w.fsx != nil {
			a.Number, a.Unsure, a.Lost = w.number, w.unsure, w.lost
		}
		if out.Encode(a) != nil {
			os.Exit(1)
		}
	}
}

// fsxWorker is the tester in its process.
type fsxWorker struct {
	*fsx
	specs []fsxSpec
	out   *bufio.Writer
}

func (w *fsxWorker) obey(o fsxOrder) error {
	switch o.Do {
	case "begin":
		return w.begin(o)
	case "run":
		err := w.run(o.Ops)
		w.out.Flush()
		return err
	case "sync":
		return w.sync()
	case "close":
		return w.close()
	case "drop":
		w.close() // the daemon has died: the files answer ENOTCONN, and are closed
		return nil
	case "open":
		w.specs = o.Files
		return w.revive()
	case "compare":
		return w.compare(o.File, o.Path)
	}
	return fmt.Errorf("order %q is not known", o.Do)
}

func (w *fsxWorker) begin(o fsxOrder) error {
	w.specs, w.out = o.Files, bufio.NewWriter(io.Discard)
	if o.Log != "" {
		f, err := os.Create(o.Log)
		if err != nil {
			return err
		}
		w.out = bufio.NewWriter(f)
	}
	var models []*fsxModel
	for _, s := range o.Files {
		models = append(models, newFsxModel(s.Fixed, s.Size, s.Limit))
	}
	var err error
	w.fsx, err = newFsx(o.Seed, models, w.out, func(i int) (fsxChannel, error) { return openFsx(w.specs[i].Path, os.O_RDWR, w.specs[i].Limit) })
	return err
}

// compare reads another file, which is not written, in every way that a host may, and compares it with the model.
func (w *fsxWorker) compare(file int, path string) error {
	c, err := openFsx(path, os.O_RDONLY, w.specs[file].Limit)
	if err != nil {
		return err
	}
	defer c.Close()
	other := *w.fsx
	other.files = make([]fsxChannel, len(w.files))
	other.files[file] = c
	for how := fsxRead; how <= fsxReadView; how++ {
		if err := other.read(file, how, 0, w.models[file].limit); err != nil {
			return w.failure(fmt.Errorf("%s: %w", path, err))
		}
	}
	return nil
}

// fsxProcess is a tester as its test sees it.
type fsxProcess struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	in    *json.Encoder
	pipe  io.Closer
	out   chan fsxAnswer // closed when the process has ended
	last  fsxAnswer
	specs []fsxSpec
}

// startFsx starts a tester on files that hold zeroes.
func startFsx(t *testing.T, name string, seed uint64, specs []fsxSpec) *fsxProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &fsxProcess{t: t, name: name, cmd: exec.Command(self), out: make(chan fsxAnswer), specs: specs}
	p.cmd.Env = append(os.Environ(), fsxEnv+"=1", "GOMAXPROCS=1")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.in, p.pipe = json.NewEncoder(in), in
	go p.listen(json.NewDecoder(out))
	t.Cleanup(p.end)
	o := fsxOrder{Do: "begin", Seed: seed, Files: specs}
	if dir := os.Getenv("PAIRFS_FSX_LOG"); dir != "" {
		o.Log = filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".log")
	}
	p.do(o)
	return p
}

// listen passes on what the process answers until it ends.
func (p *fsxProcess) listen(in *json.Decoder) {
	defer close(p.out)
	for {
		var a fsxAnswer
		if in.Decode(&a) != nil {
			return
		}
		p.out <- a
	}
}

// ask gives an order and returns what came of it.
func (p *fsxProcess) ask(o fsxOrder) error {
	if err := p.in.Encode(o); err != nil {
		return fmt.Errorf("tester %s: %w", p.name, err)
	}
	select {
	case a, ok := <-p.out:
		if !ok {
			return fmt.Errorf("tester %s ended, see its standard error", p.name)
		}
		p.last = a
		if a.Error != "" {
			return fmt.Errorf("tester %s, order %s: %s", p.name, o.Do, a.Error)
		}
		return nil
	case <-time.After(fsxOrderLimit):
		return fmt.Errorf("tester %s does not answer order %s within %v", p.name, o.Do, fsxOrderLimit)
	}
}

// do is ask for what has to succeed.
func (p *fsxProcess) do(o fsxOrder) {
	p.t.Helper()
	if err := p.ask(o); err != nil {
		p.t.Fatal(err)
	}
}

// end ends the process. One that waits for the mount without end is left to the end of the daemon.
func (p *fsxProcess) end() {
	p.cmd.Process.Kill()
	p.pipe.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range p.out {
		}
		p.cmd.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(stopLimit):
		p.t.Errorf("tester %s does not end", p.name)
	}
}
