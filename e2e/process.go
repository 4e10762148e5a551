package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// writerEnv makes this program a writer's process.
const writerEnv = "PAIRFS_E2E_WRITER"

// process is a writer of a [Workload] in a process of its own, which has opened the volumes itself: this program, executed anew. The history
// stays where it is, for what it tells of the order of writes has to be told in one place: the process is given one deed after the other, and
// answers each with its errno.
//
//	to it     one line of JSON: the targets; then deeds, each of binary.Size(deed{}) bytes, little endian
//	from it   for the targets and each deed an errno, four bytes; 0 is none
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// startProcess starts one and waits until it has opened the targets.
func startProcess(targets []Target) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), writerEnv+"=1", "GOMAXPROCS=1")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := json.Marshal(targets)
	if err != nil {
		return nil, err
	}
	if err := p.ask(append(line, '\n')); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// ask sends bytes and waits for the errno that answers them.
func (p *process) ask(b []byte) error {
	if _, err := p.in.Write(b); err != nil {
		return fmt.Errorf("a writer's process: %w", err)
	}
	var answer [4]byte
	if _, err := io.ReadFull(p.out, answer[:]); err != nil {
		return fmt.Errorf("a writer's process ended: %w", err)
	}
	if errno := binary.LittleEndian.Uint32(answer[:]); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// do lets the process make a request.
func (p *process) do(d *deed) error {
	b, err := binary.Append(nil, binary.LittleEndian, d)
	if err != nil {
		return err
	}
	return p.ask(b)
}

// end ends the process, which has no deed under way.
func (p *process) end() {
	p.in.Close()
	p.cmd.Wait()
}

// ServeWriter makes this program a writer's process, if it was started as one, and does not return then. A program whose workloads have
// processes calls it first.
func ServeWriter() {
	if os.Getenv(writerEnv) == "" {
		return
	}
	if err := serveWriter(bufio.NewReader(os.Stdin), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "a writer's process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveWriter obeys until its input ends.
func serveWriter(in *bufio.Reader, out io.Writer) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var targets []Target
	if err := json.Unmarshal(line, &targets); err != nil {
		return err
	}
	open := make([]files, len(targets))
	for i, t := range targets {
		if open[i], err = openFiles(t); err != nil {
			break
		}
	}
	if answerErrno(out, err) != nil || err != nil {
		return err
	}
	buf := AlignedBuffer(1 << 20)
	request := make([]byte, binary.Size(deed{}))
	for {
		if _, err := io.ReadFull(in, request); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var d deed
		if _, err := binary.Decode(request, binary.LittleEndian, &d); err != nil {
			return err
		}
		p := buf[:d.Mark.Length]
		if d.Kind <= writeBuffered {
			Fill(p, d.Mark)
		}
		if err := answerErrno(out, d.do(&open[d.Target], p)); err != nil {
			return err
		}
	}
}

// answerErrno answers with the errno in an error; one that has none, a short write for instance, is EIO to who asked.
func answerErrno(out io.Writer, err error) error {
	errno := unix.Errno(0)
	if err != nil && !errors.As(err, &errno) {
		fmt.Fprintln(os.Stderr, "a writer's process:", err)
		errno = unix.EIO
	}
	_, werr := out.Write(binary.LittleEndian.AppendUint32(nil, uint32(errno)))
	return werr
}
