package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain makes the test binary serve as pairfs too, by all its names, so that scripts run the real program, race detector included.
func TestMain(m *testing.M) {
	programs := map[string]func(){"pairfs": main, "pairfs-log-writer": writeLog}
	for _, name := range raidCommandNames() {
		programs[name] = main
	}
	testscript.Main(m, programs)
}

// TestScript runs the scripts in testdata against real sites with real mounts. A script starts its sites below its working directory; what
// is still there at its end, because it failed, is ended here.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(ts *testscript.TestScript, neg bool, args []string){"field": scriptField, "exits": scriptExits, "gone": scriptGone, "keep": scriptKeep},
		Setup: func(e *testscript.Env) error {
			// Sites of the same name would share their rings.
			rings, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
			if err != nil {
				return err
			}
			e.Setenv("RINGS", rings)
			e.Setenv("PAIRFS_MOUNT", "")
			e.Setenv("PAIRFS_HORCM_DIR", e.WorkDir)
			e.Setenv("HORCMINST", "")
			e.Setenv("HORCC_MRCF", "")
			e.Setenv("TMPDIR", e.WorkDir)
			e.Setenv("GORACE", "atexit_sleep_ms=10") // a process with the race detector otherwise takes a second to exit
			e.Defer(func() {
				if err := errors.Join(endSites(e.WorkDir), os.RemoveAll(rings)); err != nil {
					t.Errorf("end what %s left: %v", e.WorkDir, err)
				}
			})
			return nil
		},
	})
}

// endSites kills the daemons whose command line names the directory and detaches the mounts in it.
func endSites(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, p := range procs {
		line, err := os.ReadFile(p)
		if err != nil || !bytes.Contains(line, []byte("\x00mount\x00")) || !bytes.Contains(line, []byte(dir+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err != nil {
			return err
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	all, err := mounts()
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Type == mountType && inside(m.Point, dir) {
			if err := unix.Unmount(m.Point, unix.MNT_DETACH); err != nil {
				return err
			}
		}
	}
	return nil
}

// scriptField is the script command "field VAR FILE KEY": it sets VAR to the value of a key in a control file.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field VAR FILE KEY")
	}
	st := parseState(ts.ReadFile(args[1]))
	if !st.has(args[2]) {
		ts.Fatalf("%s has no %s", args[1], args[2])
	}
	ts.Setenv(args[0], st.get(args[2]))
}

// scriptGone is the script command "gone PID": it waits until that process has ended.
func scriptGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone PID")
	}
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	end, err := watch(pid)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	ts.Check(err)
	defer end.Close()
	ts.Check(end.wait(context.Background(), umountFor))
}

// scriptExits is the script command "exits STATUS PROGRAM [ARG…]": it wants that exit status.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
