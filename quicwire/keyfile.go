package quicwire

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// loadOrCreate reads the secret in the file at path, or makes one with fresh and stores it there first. The file appears under
// its name only when it is complete and on disk, so a crash leaves either no key or a whole one.
func loadOrCreate(path string, fresh func() ([]byte, error)) ([]byte, error) {
	b, err := readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = fresh(); err != nil {
		return nil, err
	}
	switch err := createSecret(path, b); {
	case errors.Is(err, fs.ErrExist):
		return readSecret(path) // another process was faster, or a dangling link is in the way
	case err != nil:
		return nil, fmt.Errorf("create key file %s: %w", path, err)
	}
	return b, nil
}

// readSecret reads a file that nobody but its owner, who is this process's user or root, may read or write.
func readSecret(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("key file %s is a symbolic link; put the file itself there: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	if err := checkSecret(f); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("key file %s is over %d bytes, which no key is; restore it from a backup", path, maxKeyFile)
	}
	return b, nil
}

// checkSecret looks at the open file, not at its name, so that nothing can be exchanged in between.
func checkSecret(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat key file %s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("key file %s is not a regular file; put the file itself there", f.Name())
	}
	if uid := os.Geteuid(); int(st.Uid) != uid && st.Uid != 0 {
		return fmt.Errorf("key file %s belongs to user %d, not to user %d; chown it", f.Name(), st.Uid, uid)
	}
	if mode := st.Mode & 0o777; mode&^0o600 != 0 {
		return fmt.Errorf("key file %s has mode %04o, others may use it; make a new key if they could have read it, else chmod 600", f.Name(), mode)
	}
	return nil
}

// createSecret writes a new file beside path and links it to path, which fails with fs.ErrExist if anything is there, a link included.
func createSecret(path string, b []byte) error {
	var suffix [8]byte
	if _, err := rand.Read(suffix[:]); err != nil {
		return err
	}
	tmp := path + "." + hex.EncodeToString(suffix[:])
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
