package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt maps its file and follows what stands there without a look: a page number or a length that is damaged makes it panic, go round in a
// circle, or read where nothing is mapped, which ends the process without a word. So before bbolt gets the database all pages of it that are in
// use are read here, and looked at as bbolt lays them out (version 2 of its format, in the byte order of the host):
//
//	page    id u64, flags u16, count u16, overflow u32, then count elements; it goes on over so many further pages
//	meta    pages 0 and 1: magic, version, page size, flags u32; root: page and sequence u64; list of free pages, pages in use, transaction,
//	        FNV-1a of all that, u64. Transactions take turns; the higher number that is valid holds
//	branch  flags 1: position of the key, its length u32, page u64
//	leaf    flags 2: flags (1: a bucket), position of the key, its length, that of the value behind it u32
//	bucket  a value: root page, sequence u64; root 0: its page follows
//
// That shows what is no tree. Whether the entries are those that were stored their sum shows, see dbSum.

const (
	pageHeader  = 16
	pageElement = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	pageBranch  = 1
	pageLeaf    = 2
	pageFree    = 16
	leafBucket  = 1
	noFreePages = ^uint64(0)
	// pagesDeep bounds the depth of a tree, with the buckets in it: a page has two entries at least.
	pagesDeep = 64
)

var ne = binary.NativeEndian

// errPageSize is a meta page with its checksum that names another size of pages than there can be. bbolt would believe it, so the other meta page
// does not stand in for it.
var errPageSize = errors.New("the size of its pages cannot be")

// dbMeta is a meta page.
type dbMeta struct {
	page                         int64 // bytes of a page
	root, free, pages, committed uint64
}

// dbPages walks the pages of a database.
type dbPages struct {
	f      io.ReaderAt
	size   int64 // bytes of the file
	meta   dbMeta
	broken error // what is wrong with the other meta page; nil: nothing
	seen   map[uint64]bool
	visit  func(bucket string, key, value []byte) // is told of each entry; buckets in buckets are joined by "/"
}

// walkPages reads the database and calls visit for each entry. An error says what is damaged. broken says what is wrong with one of the two meta
// pages, where the other one is good.
func walkPages(f io.ReaderAt, size int64, visit func(bucket string, key, value []byte)) (broken, err error) {
	entries := 0
	w := &dbPages{f: f, size: size, seen: map[uint64]bool{}, visit: func(bucket string, key, value []byte) { entries++; visit(bucket, key, value) }}
	if err := w.metas(); err != nil {
		return nil, err
	}
	if err := w.freePages(); err != nil {
		return nil, err
	}
	if err := w.tree(w.meta.root, "", pagesDeep, nil, nil); err != nil {
		return nil, err
	}
	if entries == 0 && w.meta.committed > emptyCommit {
		return nil, fmt.Errorf("it has no entries, and had %d changes", w.meta.committed)
	}
	return w.broken, nil
}

// emptyCommit is the transaction of a database that was made and never had an entry: a start ended before its first change.
const emptyCommit = 1

// metas finds the meta page that holds.
func (w *dbPages) metas() error {
	var all [2]dbMeta
	var errs [2]error
	first, err := w.read(0, 4096)
	if err != nil {
		return err
	}
	all[0], errs[0] = parseMeta(first)
	for size := int64(1024); size <= 16<<20; size *= 2 { // the size of the pages is known from the first one, or found
		if errs[0] == nil {
			size = all[0].page
		}
		var b []byte
		if b, errs[1] = w.read(size, metaSize+pageHeader); errs[1] == nil {
			all[1], errs[1] = parseMeta(b)
		}
		if errs[1] == nil && all[1].page != size {
			errs[1] = fmt.Errorf("%w: %d bytes, in the meta page at offset %d", errPageSize, all[1].page, size)
		}
		if errs[0] == nil || errs[1] == nil {
			break
		}
	}
	switch {
	case errors.Is(errs[0], errPageSize):
		return fmt.Errorf("meta page 0: %w", errs[0])
	case errors.Is(errs[1], errPageSize):
		return fmt.Errorf("meta page 1: %w", errs[1])
	case errs[0] != nil && errs[1] != nil:
		return fmt.Errorf("neither meta page is valid: 0: %w; 1: %w", errs[0], errs[1])
	case errs[0] != nil:
		w.meta, w.broken = all[1], fmt.Errorf("meta page 0: %w", errs[0])
	case errs[1] != nil:
		w.meta, w.broken = all[0], fmt.Errorf("meta page 1: %w", errs[1])
	case all[1].committed > all[0].committed:
		w.meta = all[1]
	default:
		w.meta = all[0]
	}
	if int64(w.meta.pages) < 0 || int64(w.meta.pages) > w.size/w.meta.page {
		return fmt.Errorf("it has %d bytes, and %d pages of %d bytes in use: its end is missing", w.size, w.meta.pages, w.meta.page)
	}
	return nil
}

// parseMeta reads a meta page.
func parseMeta(b []byte) (m dbMeta, err error) {
	b = b[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	switch {
	case ne.Uint32(b) != metaMagic:
		return m, errors.New("it does not begin like a database")
	case ne.Uint64(b[56:]) != sum.Sum64():
		return m, errors.New("it fails its checksum")
	case ne.Uint32(b[4:]) != metaVersion:
		return m, fmt.Errorf("its version is %d, and %d is known", ne.Uint32(b[4:]), metaVersion)
	}
	m = dbMeta{page: int64(ne.Uint32(b[8:])), root: ne.Uint64(b[16:]), free: ne.Uint64(b[32:]), pages: ne.Uint64(b[40:]), committed: ne.Uint64(b[48:])}
	if m.page < 1024 || m.page > 16<<20 || m.page&(m.page-1) != 0 {
		return m, fmt.Errorf("%w: %d bytes", errPageSize, m.page)
	}
	return m, nil
}

func (w *dbPages) read(off, n int64) ([]byte, error) {
	if off+n > w.size {
		return nil, fmt.Errorf("it has %d bytes only", w.size)
	}
	b := make([]byte, n)
	if _, err := w.f.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("%d bytes at offset %d cannot be read: %w", n, off, err)
	}
	return b, nil
}

// take reads a page that is not referred to by another one.
func (w *dbPages) take(id uint64) ([]byte, error) {
	if id < 2 || id >= w.meta.pages {
		return nil, fmt.Errorf("page %d is referred to, and pages up to %d are in use", id, w.meta.pages)
	}
	head, err := w.read(int64(id)*w.meta.page, pageHeader)
	if err != nil {
		return nil, err
	}
	further := uint64(ne.Uint32(head[12:]))
	if ne.Uint64(head) != id || further >= w.meta.pages-id {
		return nil, fmt.Errorf("page %d says that it is page %d with %d further ones", id, ne.Uint64(head), further)
	}
	for n := id; n <= id+further; n++ {
		if w.seen[n] {
			return nil, fmt.Errorf("page %d is referred to twice", n)
		}
		w.seen[n] = true
	}
	return w.read(int64(id)*w.meta.page, int64(further+1)*w.meta.page)
}

// freePages looks at the list of free pages, which a database has until its first transaction of pairfs.
func (w *dbPages) freePages() error {
	if w.meta.free == noFreePages {
		return nil
	}
	b, err := w.take(w.meta.free)
	if err != nil {
		return err
	}
	n := int(ne.Uint16(b[10:]))
	if ne.Uint16(b[8:]) != pageFree || n == 0xffff || pageHeader+8*n > len(b) {
		return fmt.Errorf("page %d is not the list of %d free pages", w.meta.free, n)
	}
	for i := range n {
		if id := ne.Uint64(b[pageHeader+8*i:]); id < 2 || id >= w.meta.pages {
			return fmt.Errorf("page %d is said to be free, and pages up to %d are in use", id, w.meta.pages)
		}
	}
	return nil
}

// tree walks the tree below a page, whose keys are not less than from and less than to; nil is no bound.
func (w *dbPages) tree(id uint64, bucket string, depth int, from, to []byte) error {
	b, err := w.take(id)
	if err != nil {
		return err
	}
	return w.elements(id, b, bucket, depth, from, to)
}

// elements walks what is on a page, or in the value of a bucket that is on it.
func (w *dbPages) elements(id uint64, b []byte, bucket string, depth int, from, to []byte) error {
	if depth == 0 {
		return fmt.Errorf("page %d: its tree has more than %d levels", id, pagesDeep)
	}
	flags, n := ne.Uint16(b[8:]), int(ne.Uint16(b[10:]))
	if flags != pageBranch && flags != pageLeaf || flags == pageBranch && n == 0 || pageHeader+n*pageElement > len(b) {
		return fmt.Errorf("page %d: flags %d with %d entries are no page of a tree", id, flags, n)
	}
	var below uint64 // of a branch: the page of the entry before
	for i := range n {
		e := b[pageHeader+i*pageElement:]
		key, value, ok := keyAndValue(e, flags, n-i)
		if !ok {
			return fmt.Errorf("page %d: entry %d does not lie in it", id, i)
		}
		if i > 0 && bytes.Compare(from, key) >= 0 || from != nil && bytes.Compare(from, key) > 0 || to != nil && bytes.Compare(key, to) >= 0 {
			return fmt.Errorf("page %d: entry %d is not in order", id, i)
		}
		if flags == pageLeaf {
			if err := w.leaf(id, e, bucket, depth, key, value); err != nil {
				return err
			}
		} else if i > 0 {
			if err := w.tree(below, bucket, depth-1, from, key); err != nil {
				return err
			}
		}
		from = key
		if flags == pageBranch {
			below = ne.Uint64(e[8:])
		}
	}
	if flags == pageBranch {
		return w.tree(below, bucket, depth-1, from, to)
	}
	return nil
}

// keyAndValue finds what an element of a page stands for; left counts the elements from it on.
func keyAndValue(e []byte, flags uint16, left int) (key, value []byte, ok bool) {
	at, keyLen, valueLen := uint64(ne.Uint32(e)), uint64(ne.Uint32(e[4:])), uint64(0)
	if flags == pageLeaf {
		at, keyLen, valueLen = uint64(ne.Uint32(e[4:])), uint64(ne.Uint32(e[8:])), uint64(ne.Uint32(e[12:]))
	}
	if at < uint64(left*pageElement) || keyLen == 0 || at+keyLen+valueLen > uint64(len(e)) {
		return nil, nil, false
	}
	return e[at : at+keyLen], e[at+keyLen : at+keyLen+valueLen], true
}

// leaf takes an entry, or walks the bucket that it is.
func (w *dbPages) leaf(id uint64, e []byte, bucket string, depth int, key, value []byte) error {
	name := string(key)
	if bucket != "" {
		name = bucket + "/" + name
	}
	switch flags := ne.Uint32(e); {
	case flags == 0 && bucket == "": // bbolt takes each entry there for a bucket
		return fmt.Errorf("page %d: entry %q is in no bucket", id, name)
	case flags == 0:
		w.visit(bucket, key, value)
		return nil
	case flags != leafBucket || len(value) < pageHeader:
		return fmt.Errorf("page %d: entry %q has flags %d and %d bytes", id, name, flags, len(value))
	}
	root := ne.Uint64(value)
	if root != 0 {
		return w.tree(root, name, depth-1, nil, nil)
	}
	if value = value[pageHeader:]; len(value) < pageHeader || ne.Uint16(value[8:]) != pageLeaf {
		return fmt.Errorf("page %d: bucket %q has no page", id, name)
	}
	return w.elements(id, value, name, depth-1, nil, nil)
}
