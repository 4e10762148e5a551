package fs

import (
	"context"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ctlHandle is one open control file. It has a text: the state, fixed at the first read, or after a write the answer to the command.
type ctlHandle struct {
	tree   *tree
	object object

	mu       sync.Mutex
	fixed    bool     // state is set
	state    string   // the text of the object
	answered bool     // the next reads are of answer, whatever their offset
	answer   string   // what is left of the answer to the last command
	list     *listing // what follows the answer, nil for none
	written  bool     // the handle has carried a command: the offset says nothing about state
}

// Write carries out one command. The offset means nothing.
func (h *ctlHandle) Write(ctx context.Context, data []byte, _ int64) (uint32, syscall.Errno) {
	word, said, list, err := h.tree.command(ctx, h.object, data)
	h.mu.Lock()
	h.list.close()
	h.answered, h.answer, h.list, h.written, h.fixed = true, formatAnswer(said, err), list, true, false
	h.mu.Unlock()
	if err != nil {
		return 0, errnoOf(err)
	}
	if h.object.kind == siteObject && word == "stop" {
		h.tree.stopOnce.Do(h.tree.stop)
	}
	return uint32(len(data)), 0
}

// Read returns the answer to the last command once, up to its end; otherwise the state.
func (h *ctlHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answered {
		n := copy(dest, h.answer)
		h.answer = h.answer[n:]
		if n > 0 && h.list.waits() {
			return fuse.ReadResultData(dest[:n]), 0
		}
		if err := h.list.await(ctx); err != nil {
			return nil, errnoOf(err)
		}
		n += h.list.read(dest[n:])
		if h.answered = n > 0; !h.answered {
			h.list.close()
		}
		return fuse.ReadResultData(dest[:n]), 0
	}
	if h.written && off == 0 {
		h.written, h.fixed = false, false // read from the beginning: the state anew
	}
	if h.written {
		return fuse.ReadResultData(nil), 0
	}
	if !h.fixed {
		text, errno := h.tree.text(ctx, h.object)
		if errno != 0 {
			return nil, errno
		}
		h.state, h.fixed = text, true
	}
	n := 0
	if off < int64(len(h.state)) {
		n = copy(dest, h.state[off:])
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// text returns what the control file of an object shows now.
func (t *tree) text(ctx context.Context, o object) (string, syscall.Errno) {
	if o.kind == historyObject {
		all, err := t.site.History(ctx)
		return formatHistory(all), errnoOf(err)
	}
	if o.kind == keptObject {
		all, err := t.site.Kept()
		return KeptLines(all), errnoOf(err)
	}
	st := t.site.Status()
	text, ok := o.text(&st)
	if !ok {
		return "", unix.ENOENT
	}
	return text, 0
}

// Fsync has nothing to do: a command is durable when its write returns.
func (h *ctlHandle) Fsync(context.Context, uint32) syscall.Errno { return 0 }

// Release gives up what was not read of an answer.
func (h *ctlHandle) Release(context.Context) syscall.Errno {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list.close()
	return 0
}
