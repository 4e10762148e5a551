package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"pairfs/fs"
	"pairfs/replica"
)

const (
	// busyFor is how long a stopping daemon goes on serving a mount that is busy before it cuts it off.
	busyFor = 10 * time.Second
	// busyTick is the time between two tries to unmount.
	busyTick = 100 * time.Millisecond
	// closeFor bounds the last flush and checkpoint.
	closeFor = 60 * time.Second
)

// siteDaemon is the process behind a mount: it opens the site, mounts it, waits until it is told to stop, and closes it.
type siteDaemon struct {
	cfg    *mountCmd
	base   *slog.Logger // for the engine, which adds the name of the site itself
	log    *slog.Logger
	ready  func(warnings []string) error // called once, when the mount answers
	served bool                          // ready was called
}

// run serves until ctx is cancelled, until the site is told to stop, or until somebody unmounts it.
func (d *siteDaemon) run(ctx context.Context) error {
	signal.Ignore(syscall.SIGPIPE) // a log nobody reads any more must not end the site
	var metrics *metricsServer
	if d.cfg.Metrics != "" {
		var err error
		if metrics, err = listenMetrics(d.cfg.Metrics); err != nil {
			return err
		}
	}
	defer func() { metrics.stop() }()
	site, err := d.open(ctx)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	var once sync.Once
	mnt, err := fs.Mount(fs.Config{Site: site, Dir: d.cfg.Dir, Logger: d.log, Stop: func() { once.Do(func() { close(stop) }) }})
	if err != nil {
		return errors.Join(err, d.close(site))
	}
	unmounted := make(chan struct{})
	go func() {
		mnt.Wait()
		close(unmounted)
	}()
	if metrics != nil {
		metrics.serve(func() string { return fs.Metrics(site) }, d.log)
	}
	_ = os.Remove(filepath.Join(d.cfg.State, stopErrorName))
	d.served = true
	if err := d.ready(warnings(site.Events())); err != nil {
		d.log.Warn("the process that started this daemon is gone", "error", err)
	}
	d.log.Info("serving", "mount", d.cfg.Dir, "version", version(), "pid", os.Getpid())
	select {
	case <-ctx.Done():
		d.log.Info("stopping", "reason", "signal")
	case <-stop:
		d.log.Info("stopping", "reason", "command")
	case <-unmounted:
		d.log.Info("stopping", "reason", "unmounted")
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	err = d.unmount(mnt, unmounted)
	metrics.stop() // before the site that it shows
	metrics = nil
	err = errors.Join(err, d.close(site))
	d.leave(err)
	return err
}

// open opens the site. A signal ends only the opening: the site itself must outlive it until the mount is gone.
func (d *siteDaemon) open(ctx context.Context) (*replica.Site, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	site, err := replica.Open(life, replica.Config{
		StateDir:      d.cfg.State,
		Name:          d.cfg.Name,
		Listen:        d.cfg.Listen,
		RingDir:       d.cfg.RingDir,
		WithoutRing:   d.cfg.WithoutRing,
		WithoutStores: d.cfg.WithoutStore,
		Memory:        int64(d.cfg.Memory),
		PathWatch:     d.cfg.PathWatch,
		Logger:        d.base,
		Fatal:         d.die,
		Version:       version(),
	})
	if !stop() && err == nil {
		err = errors.Join(fmt.Errorf("stopped while opening: %w", context.Cause(ctx)), d.close(site))
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return site, nil
}

// unmount ends the mount. While it is busy the site goes on serving; after busyFor its holders are cut off, so that a stop is a stop.
func (d *siteDaemon) unmount(mnt *fs.Mounted, unmounted <-chan struct{}) error {
	deadline := time.NewTimer(busyFor)
	defer deadline.Stop()
	tick := time.NewTicker(busyTick)
	defer tick.Stop()
	named := ""
	m, _, _ := mountAt(d.cfg.Dir) // it is not in the table any more when only copies of it are left
	for {
		err := mnt.Unmount()
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.EBUSY) {
			if by := d.holders(m, errors.Is(err, fs.ErrElsewhere)); by != named {
				named = by
				d.log.Warn("the mount is busy, trying again", "held by", by)
			}
		}
		select {
		case <-unmounted:
			return nil
		case <-deadline.C:
			return errors.Join(
				fmt.Errorf("%s was still busy after %v, held by %s, and was cut off from them", d.cfg.Dir, busyFor, named), d.cutOff(m, unmounted))
		case <-tick.C:
		}
	}
}

// cutOff detaches a mount that is in use and ends its connection to the kernel, so that no request is served while the site closes. Whoever
// holds it sees errors from then on, as after a crash; nothing that was acknowledged is lost.
func (d *siteDaemon) cutOff(m mountEntry, unmounted <-chan struct{}) error {
	err := unix.Unmount(d.cfg.Dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) { // it is not mounted here any more
		err = abortConnection(m.Dev)
	}
	if err != nil {
		return fmt.Errorf("cut %s off: %w", d.cfg.Dir, err)
	}
	late := time.NewTimer(busyFor)
	defer late.Stop()
	select {
	case <-unmounted:
		return nil
	case <-late.C:
		return fmt.Errorf("requests to %s did not end within %v", d.cfg.Dir, busyFor)
	}
}

// holders names who holds the mount, for the log; elsewhere is whether only copies of it in other mount namespaces are left.
func (d *siteDaemon) holders(m mountEntry, elsewhere bool) string {
	var by, silent []string
	switch {
	case m.Dev == "":
	case elsewhere:
		by = namespaceHolders("/proc", m.Dev)
	default:
		by, silent = findHolders(m, os.Getpid())
	}
	for _, p := range silent {
		by = append(by, p+", which does not answer, perhaps")
	}
	if len(by) == 0 {
		return "unknown"
	}
	return strings.Join(by, ", ")
}

// close flushes and closes the site within closeFor.
func (d *siteDaemon) close(site *replica.Site) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	if err := site.Close(ctx); err != nil {
		return fmt.Errorf("close the site: %w", err)
	}
	return nil
}

// die ends the process as a kill does, the reason is in the log: the mount is dead from here on, and the next start takes it away.
func (*siteDaemon) die(error) { os.Exit(exitFailed) }

// stopErrorName is the file in the state directory in which a daemon leaves what it could not do when it stopped.
const stopErrorName = "stop-error"

// leave records how the stop went, for "pairfs umount" to say.
func (d *siteDaemon) leave(err error) {
	if err == nil {
		d.log.Info("stopped")
		return
	}
	path := filepath.Join(d.cfg.State, stopErrorName)
	werr := os.Remove(path) // what stands there is not followed
	if werr == nil || errors.Is(werr, os.ErrNotExist) {
		werr = writeNew(path, err.Error()+"\n")
	}
	if werr != nil {
		d.log.Warn("cannot leave the reason in the state directory", "error", werr, "reason", err)
	}
}

// writeNew makes a file that must not be there.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
