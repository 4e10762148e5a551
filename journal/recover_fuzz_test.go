package journal_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"runtime/metrics"
	"slices"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// What FuzzRecover does to its input before the journal sees it, so that not every change ends at a checksum.
const (
	mendPages   = 1 << iota // first pages and layout get their checksums, and the sizes of the files
	mendRecords             // records get theirs
	mendPlaces              // those of the first journal volume, and of the ring, stand where they say
	received                // it is the journal of a secondary
	withRing                // a ring was left
)

// fuzzPages bounds the files of an input: what matters of a journal shows in a few pages.
const fuzzPages = 16

// recoverMemory is what a recovery may allocate beside what grows with its input: the pages of a ring, and what the runtime has.
const recoverMemory = 8 << 20

var imageID = [16]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}

// chain gives records from position pos and number seq+1 on, one of each kind, each but the last behind a flush of its own.
func chain(pos journal.Position, seq journal.Seq) (b []byte, _ journal.Position, _ journal.Seq) {
	start, synced := pos, pos
	add := func(r journal.Record) {
		r.Position, r.Time, r.Seq = start+journal.Position(len(b)), 1_000_000_000, seq
		if r.Advances() {
			seq++
			r.Seq = seq
		}
		r.Length = cmp.Or(uint64(len(r.Payload)), r.Length)
		b = journal.AppendPlaced(b, imageID, r, synced)
	}
	flush := func() {
		if rest := -len(b) & (journal.PageSize - 1); rest > 0 {
			add(journal.Record{Kind: journal.KindPad, Length: uint64(rest)})
		}
		synced = start + journal.Position(len(b))
	}
	add(journal.Record{Kind: journal.KindUpdate, Volume: 7, Offset: 4096, Payload: []byte("hello")})
	flush()
	add(journal.Record{Kind: journal.KindUpdate, Volume: 7, Offset: 8192, Payload: bytes.Repeat([]byte("world!"), 20)})
	add(journal.Record{Kind: journal.KindUpdate, Flags: journal.FlagLocal, Volume: 1, Payload: []byte("local")})
	flush()
	add(journal.Record{Kind: journal.KindBase, Volume: 7, Offset: 1 << 30, Payload: bytes.Repeat([]byte("base"), 32)})
	add(journal.Record{Kind: journal.KindBase, Flags: journal.FlagZero, Volume: 7, Offset: 1 << 31, Length: 1 << 30})
	add(journal.Record{Kind: journal.KindDiscard, Volume: 2, Offset: 4096, Length: 1 << 30})
	add(journal.Record{Kind: journal.KindControl, Payload: []byte("control")})
	add(journal.Record{Kind: journal.KindSkip, Volume: 1, Offset: 4096, Length: 4096})
	flush()
	return b, start + journal.Position(len(b)), seq
}

// volumeFile is the file of a journal volume with that content in a data area of pages.
func volumeFile(number, count, pages int, data []byte) []byte {
	b := append(journal.VolumePage(imageID, number, count, uint64(pages*journal.PageSize)), data...)
	return append(b, make([]byte, (1+pages)*journal.PageSize-len(b))...)
}

// FuzzRecover: whatever stands in the files of a journal and in its ring, the recovery ends, holds little memory, and either refuses, having changed
// nothing of what a journal volume holds, or gives sound records that stood there, and the same ones again the next time.
func FuzzRecover(f *testing.F) {
	first, tail, seq := chain(0, 0)
	staged, end, _ := chain(tail, seq)
	const pages = 8
	one, none := volumeFile(1, 1, pages, first), []byte{}
	add := func(file1, file2, layout, ring []byte, head journal.Head, known, at journal.Position, unpublished uint64, mend uint8) {
		f.Add(pack(file1), pack(file2), pack(layout), pack(ring), uint64(head.Position), uint64(head.VolumeStart), uint64(head.Seq), uint8(head.Volume), uint64(known), uint64(at), unpublished, mend)
	}
	add(one, none, none, none, journal.Head{}, tail, 0, 0, 0)
	add(one[:6*journal.PageSize], none, none, none, journal.Head{}, 0, 0, 0, mendPages)
	torn := bytes.Clone(one)
	clear(torn[3*journal.PageSize:][:64]) // the last flush
	add(torn, none, none, none, journal.Head{}, 0, 0, 0, 0)
	broken := bytes.Clone(one)
	broken[2*journal.PageSize+20] ^= 1 // a number that does not follow
	add(broken, none, none, none, journal.Head{}, 0, 0, 0, mendRecords)
	for _, mend := range []uint8{withRing, withRing | received} {
		add(one, none, none, staged, journal.Head{}, tail, tail, 0, mend)
		add(one, none, none, staged, journal.Head{}, tail, tail, 1<<2|1<<7, mend|mendRecords)
	}
	// A later round, over the rest of an earlier one.
	lap, lapTail, _ := chain(pages*journal.PageSize, seq)
	older, _, _ := chain(0, 0)
	add(volumeFile(1, 1, pages, append(bytes.Clone(lap[:len(lap)-journal.PageSize]), older[len(older)-journal.PageSize:]...)), none, none, none,
		journal.Head{Position: pages * journal.PageSize, Volume: 1, VolumeStart: pages * journal.PageSize, Seq: seq}, 0, lapTail, 0, 0)
	// Two journal volumes, with and without a layout file.
	second, _, _ := chain(tail, seq)
	n := int(tail) / journal.PageSize
	add(volumeFile(1, 2, n, first), volumeFile(2, 2, n, second), none, none, journal.Head{}, end, 0, 0, 0)
	page := journal.LayoutPage(imageID, 2, tail, uint64(tail), uint64(tail))
	add(volumeFile(1, 0, n, first), volumeFile(2, 0, n, second), append(bytes.Clone(page), page...), none, journal.Head{}, end, 0, 0, mendPages)
	add(volumeFile(1, 0, n, first), volumeFile(2, 0, n, second), append(bytes.Clone(page), make([]byte, journal.PageSize)...), staged, journal.Head{}, 0, end, 0, mendPages|mendRecords|withRing)
	// The first change of a layout was interrupted, and a file is there that no layout lists.
	begun := append(make([]byte, journal.PageSize), journal.LayoutPage(imageID, 1, 0, uint64(tail))...)
	add(volumeFile(1, 1, n, first), volumeFile(2, 0, n, second), begun, none, journal.Head{}, tail, 0, 0, 0)
	alone := journal.LayoutPage(imageID, 2, 0, uint64(tail))
	add(volumeFile(1, 0, n, first), volumeFile(2, 0, n, second), append(bytes.Clone(alone), alone...), none, journal.Head{}, tail, 0, 0, 0)

	f.Fuzz(func(t *testing.T, file1, file2, layout, ring []byte, headPos, headStart, headSeq uint64, headVolume uint8, known, at, unpublished uint64, mend uint8) {
		x := image{file1: unpack(file1), file2: unpack(file2), layout: unpack(layout), ring: unpack(ring)}
		x.head = journal.Head{Position: journal.Position(headPos), Volume: int(headVolume), VolumeStart: journal.Position(headStart), Seq: journal.Seq(headSeq)}
		x.known, x.at, x.received = journal.Position(known), journal.Position(at)&^(journal.PageSize-1), mend&received != 0
		if mend&withRing == 0 {
			x.ring = nil
		}
		x.mend(mend, unpublished)
		x.check(t)
	})
}

// image is a journal as it stands on disk and in memory.
type image struct {
	file1, file2, layout, ring []byte
	head                       journal.Head
	known, at                  journal.Position
	received                   bool
}

// pack leaves the zeroes of whole pages out, so that the inputs of a fuzz test are short: the number of pages, and then pieces of 64 bytes, each behind
// its place.
func pack(b []byte) []byte {
	out := []byte{byte(len(b) / journal.PageSize)}
	for at := 0; at < len(b); at += journal.HeaderSize {
		if piece := b[at:][:journal.HeaderSize]; !bytes.Equal(piece, make([]byte, journal.HeaderSize)) {
			out = append(binary.LittleEndian.AppendUint16(out, uint16(at/journal.HeaderSize)), piece...)
		}
	}
	return out
}

// unpack gives pages back, whatever it is given.
func unpack(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	out := make([]byte, int(b[0]%(fuzzPages+1))*journal.PageSize)
	for b = b[1:]; len(b) > 2; {
		at := int(binary.LittleEndian.Uint16(b)) * journal.HeaderSize
		piece := b[2:min(len(b), 2+journal.HeaderSize)]
		if b = b[2+len(piece):]; at < len(out) {
			copy(out[at:], piece)
		}
	}
	return out
}

// mend lets the image get past checksums.
func (x *image) mend(mend uint8, unpublished uint64) {
	if len(x.file1) == 0 {
		return
	}
	id := [16]byte(x.file1[16:32])
	for _, file := range [][]byte{x.file1, x.file2} {
		if mend&mendPages != 0 && len(file) > 0 {
			journal.MendVolume(file, len(file))
		}
	}
	for i := 0; mend&mendPages != 0 && i < len(x.layout); i += journal.PageSize {
		journal.MendLayout(x.layout[i:][:journal.PageSize])
	}
	place, ringPlace := journal.MaxPosition, journal.MaxPosition
	if mend&mendPlaces != 0 {
		place, ringPlace = x.head.VolumeStart, x.at
	}
	if mend&mendRecords != 0 {
		journal.MendRecords(x.file1[journal.PageSize:], id, place, 0)
		if len(x.file2) > 0 {
			journal.MendRecords(x.file2[journal.PageSize:], id, journal.MaxPosition, 0)
		}
		journal.MendRecords(x.ring, id, ringPlace, unpublished)
	}
}

// disk puts the files into memory.
func (x *image) disk(t *testing.T) *journaltest.FS {
	fsys := journaltest.NewFS()
	if err := fsys.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{file1: x.file1, file2: x.file2, "/j/layout": x.layout} {
		if len(b) == 0 {
			continue
		}
		file, err := fsys.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(file.Preallocate(int64(len(b))), fsys.Corrupt(name, 0, int64(len(b)), func(have []byte) { copy(have, b) }), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fsys
}

// recovers runs a recovery and gives what it visited.
func (x *image) recovers(t *testing.T, fsys journal.FS, known journal.Position, ring []byte) (list []seen, rec journal.Recovery, err error) {
	o := options(fsys, "")
	o.Received = x.received
	before := allocated()
	rec, err = journal.Recover(o, x.head, known, x.at, ring, func(r *journal.Record) error {
		if sum := journal.ChecksumRecord(r); sum != r.CRC || r.Kind == journal.KindPad || len(r.Payload) > journal.MaxPayload {
			t.Fatalf("visited %s with checksum %08x, its fields give %08x", r, r.CRC, sum)
		}
		list = append(list, clone(r))
		return nil
	})
	if n := allocated() - before; n > recoverMemory+64*fuzzPages*journal.PageSize {
		t.Fatalf("%d bytes were allocated", n)
	}
	return list, rec, err
}

func (x *image) check(t *testing.T) {
	fsys := x.disk(t)
	list, rec, err := x.recovers(t, fsys, x.known, x.ring)
	if err != nil {
		if !slices.ContainsFunc([]error{journal.ErrCorrupt, journal.ErrVersion, journal.ErrInvalid, fs.ErrNotExist}, func(kind error) bool { return errors.Is(err, kind) }) {
			t.Fatalf("refused for no reason that is documented: %v", err)
		}
		for name, b := range map[string][]byte{file1: x.file1, file2: x.file2} {
			if len(b) <= journal.PageSize {
				continue
			}
			same := true
			err := fsys.Corrupt(name, journal.PageSize, int64(len(b)-journal.PageSize), func(have []byte) { same = bytes.Equal(have, b[journal.PageSize:]) })
			if gone := errors.Is(err, fs.ErrNotExist); !same || gone && len(x.layout) == 0 { // what a layout does not list goes
				t.Fatalf("refused, and %s is not what it was", name)
			}
		}
		return
	}
	stood := slices.Concat(x.file1, x.file2, x.ring)
	for i := range list {
		r := &list[i]
		if !bytes.Contains(stood, r.Payload) || i > 0 && r.Position <= list[i-1].Position || i > 0 && r.Seq < list[i-1].Seq || r.Position < x.head.Position || r.Position >= rec.Tail {
			t.Fatalf("record %d of %d is %s; head %+v, tail %d", i, len(list), r, x.head, rec.Tail)
		}
	}
	if rec.Records != len(list) || rec.Tail < x.known || rec.Tail%journal.PageSize != 0 {
		t.Fatalf("%d records were visited, the outcome is %+v, known %d", len(list), rec, x.known)
	}
	again, rec2, err := x.recovers(t, fsys, rec.Tail, nil)
	if err != nil {
		t.Fatalf("recovered once (%+v), and not again: %v", rec, err)
	}
	if rec2.Outcome != journal.Clean || rec2.Tail != rec.Tail || rec2.LastSeq != rec.LastSeq || rec2.FromRing != 0 || rec2.Erased || !slices.EqualFunc(list, again, sameRecord) {
		t.Fatalf("recovered again: %+v with %d records, first %+v with %d", rec2, len(again), rec, len(list))
	}
}

func sameRecord(a, b seen) bool {
	return a.Position == b.Position && a.Seq == b.Seq && a.Kind == b.Kind && a.Flags == b.Flags && a.CRC == b.CRC && bytes.Equal(a.Payload, b.Payload)
}

// allocated counts the bytes that the process has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
