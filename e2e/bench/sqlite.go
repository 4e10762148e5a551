package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// insert measures transactions of one row each, of SQLite on ext4 on a loop device over the file: what a small database does. The file system is
// made anew, and gone when it returns.
func (j job) insert(ctx context.Context, dir, path string, length time.Duration) (s sample, err error) {
	mnt := filepath.Join(dir, "ext4")
	if err := os.MkdirAll(mnt, 0o700); err != nil {
		return s, err
	}
	out, err := command(ctx, "losetup", "--find", "--show", "--direct-io=on", path)
	if err != nil {
		return s, err
	}
	loop := strings.TrimSpace(out)
	defer func() {
		_, derr := command(context.WithoutCancel(ctx), "losetup", "--detach", loop)
		err = errors.Join(err, derr)
	}()
	if _, err := command(ctx, "mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", loop); err != nil {
		return s, err
	}
	if err := unix.Mount(loop, mnt, "ext4", 0, ""); err != nil {
		return s, fmt.Errorf("mount %s: %w", loop, err)
	}
	defer func() { err = errors.Join(err, unmount(mnt)) }()
	return j.inserting(ctx, filepath.Join(mnt, "bench.db"), length)
}

// unmount takes the file system away; a program that was forked at that moment may hold it for a moment more.
func unmount(mnt string) error {
	for range 200 {
		if err := unix.Unmount(mnt, 0); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w", mnt, unix.EBUSY)
}

// inserting lets sqlite3 insert rows one after the other for the time, each when the one before was answered.
func (j job) inserting(ctx context.Context, db string, length time.Duration) (s sample, err error) {
	mode, synchronous, _ := strings.Cut(j.inserts, " ")
	cmd := exec.CommandContext(ctx, "sqlite3", "-batch", db)
	in, err := cmd.StdinPipe()
	if err != nil {
		return s, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return s, err
	}
	defer func() {
		if err = errors.Join(err, in.Close(), cmd.Wait()); err != nil {
			err = fmt.Errorf("sqlite3: %w: %s", err, errs.String())
		}
	}()
	lines := bufio.NewScanner(out)
	ask := func(sql string) error {
		if _, err := fmt.Fprintln(in, sql); err != nil {
			return err
		}
		if !lines.Scan() {
			return fmt.Errorf("no answer to %s", sql)
		}
		return nil
	}
	if err := ask(fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);", mode, synchronous)); err != nil {
		return s, err
	}
	var took []time.Duration
	began := time.Now()
	for time.Since(began) < length {
		at := time.Now()
		if err := ask("INSERT INTO t(v) VALUES (hex(randomblob(50))); SELECT changes();"); err != nil {
			return s, err
		}
		took = append(took, time.Since(at))
	}
	s.rate, s.bytes = float64(len(took))/time.Since(began).Seconds(), float64(len(took))*4096
	slices.Sort(took)
	s.p50, s.p99 = took[len(took)/2], took[len(took)*99/100]
	return s, nil
}

// command runs a command of the host.
func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
