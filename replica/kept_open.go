package replica

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// OpenKeptSet opens the kept set in a folder: in a state directory, or what a mount shows of one. It reads the whole list, whose checksum
// must be right. The name of the set is that of the folder.
func OpenKeptSet(path string) (*KeptSet, error) {
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, keptFault(err, filepath.Dir(path), "opened")
	}
	d := &keptDir{f: parent, path: filepath.Dir(path)}
	defer d.close()
	return d.open(filepath.Base(path))
}

// open opens a set and checks its list.
func (d *keptDir) open(name string) (*KeptSet, error) {
	k, err := d.look(name)
	if err != nil {
		return nil, err
	}
	if err := k.checkList(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// look opens a set and reads head and foot of its list, and nothing else.
func (d *keptDir) look(name string) (k *KeptSet, err error) {
	if err := checkKeptName(name); err != nil {
		return nil, err
	}
	sub, err := d.sub(name)
	if KindOf(err) == KindNotFound {
		return nil, noSuchSet(name)
	}
	if err != nil {
		return nil, err
	}
	defer sub.close()
	k = &KeptSet{info: Kept{Name: name}}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
			k = nil
		}
	}()
	if k.list, err = sub.file("list", false); err == nil {
		k.image, err = sub.file("image", false)
	}
	if KindOf(err) == KindNotFound {
		return k, k.damaged(err)
	}
	if err != nil {
		return k, err
	}
	return k, k.outline()
}

// damaged is the error for a set that is not as it was kept.
func (k *KeptSet) damaged(err error) error {
	return fault(KindInternal, err, "kept set %s is damaged", k.info.Name)
}

// outline reads head and foot, and checks that both files have the size that follows.
func (k *KeptSet) outline() error {
	size, err := fileSize(k.list)
	if err != nil {
		return err
	}
	b := make([]byte, min(size, keptHeadMax))
	if _, err := k.list.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return keptFault(err, k.list.Name(), "read")
	}
	info, n, err := parseKeptHead(b)
	if err != nil {
		return k.damaged(err)
	}
	info.Name = k.info.Name
	k.info, k.head = info, int64(n)
	b = make([]byte, keptFootSize+keptSumSize)
	at := size - int64(len(b))
	if at < k.head {
		return k.damaged(errors.New("its list was cut off"))
	}
	if _, err := k.list.ReadAt(b, at); err != nil {
		return keptFault(err, k.list.Name(), "read")
	}
	if k.crc, err = k.info.parseKeptFoot(b); err != nil {
		return k.damaged(err)
	}
	if at-k.head != k.info.Ranges*keptLineSize {
		return k.damaged(fmt.Errorf("its list has %d bytes of lines for %d ranges", at-k.head, k.info.Ranges))
	}
	switch has, err := fileSize(k.image); {
	case err != nil:
		return err
	case has != k.info.Size:
		return k.damaged(fmt.Errorf("its image has %d bytes, its volume had %d", has, k.info.Size))
	}
	k.info.ListBytes = size
	k.info.Allocated = allocatedBy(k.image) + allocatedBy(k.list)
	return nil
}

func fileSize(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, keptFault(err, f.Name(), "looked at")
	}
	return fi.Size(), nil
}

// checkList reads the whole list: its checksum, and that its ranges are ascending, apart, and as many bytes as it says.
func (k *KeptSet) checkList() error {
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, io.NewSectionReader(k.list, 0, k.head+k.info.Ranges*keptLineSize+keptFootSize)); err != nil {
		return keptFault(err, k.list.Name(), "read")
	}
	if h.Sum32() != k.crc {
		return k.damaged(errors.New("the checksum of its list is wrong"))
	}
	var end, all, data int64
	for i := range k.info.Ranges {
		r, err := k.Range(i)
		if err != nil {
			return err
		}
		if r.Offset < end {
			return k.damaged(fmt.Errorf("range %d of its list begins at %d, before the end of the one before", i, r.Offset))
		}
		end = r.end()
		if all += r.Length; !r.Zero {
			data += r.Length
		}
	}
	if all != k.info.Bytes || data != k.info.DataBytes {
		return k.damaged(fmt.Errorf("its list has ranges of %d bytes and says %d", all, k.info.Bytes))
	}
	return nil
}
