package journal_test

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// kinds is one valid record of each kind and flag that travels.
var kinds = []journal.Header{
	{Kind: journal.KindBase, Volume: 7, Offset: 1 << 40, Length: 65536},
	{Kind: journal.KindBase, Flags: journal.FlagZero, Volume: 7, Offset: 4096, Length: 1 << 33},
	{Kind: journal.KindUpdate, Volume: math.MaxUint32, Offset: 3, Length: 5},
	{Kind: journal.KindUpdate, Volume: 1, Length: journal.MaxPayload},
	{Kind: journal.KindUpdate, Flags: journal.FlagLocal, Volume: 1, Length: 100},
	{Kind: journal.KindDiscard, Volume: 2, Offset: 4096, Length: 1 << 30},
	{Kind: journal.KindControl, Length: 64},
	{Kind: journal.KindControl, Flags: journal.FlagEpoch, Length: 0},
	{Kind: journal.KindSkip, Volume: 1, Offset: 4096, Length: 4096},
}

// travelling gives the byte forms of one record of each kind, as a cursor gives them.
func travelling(t testing.TB) [][]byte {
	t.Helper()
	j, _, _ := newJournal(t, 1)
	defer j.Close()
	var list [][]byte
	c, buf := j.NewCursor(0), make([]byte, 2*mib)
	for _, h := range kinds {
		payload := make([]byte, h.PayloadLen())
		journaltest.Fill(journal.Seq(len(list)), payload)
		h.Time = 1_700_000_000_000_000_000
		r, err := j.Append(t.Context(), h, payload)
		if err != nil {
			t.Fatal(err)
		}
		syncTo(t, j, r.End)
		n, info, err := c.Read(buf, 1)
		if err != nil || info.Count != 1 || info.FirstTime != h.Time {
			t.Fatalf("cursor gives %+v, %v", info, err)
		}
		list = append(list, append([]byte(nil), buf[:n]...))
	}
	return list
}

func TestParse(t *testing.T) {
	seq := journal.Seq(0)
	for i, b := range travelling(t) {
		h := kinds[i]
		r, size, err := journal.Parse(append(b[:len(b):len(b)], 0xFF))
		if err != nil || size != len(b) {
			t.Fatalf("%s: %d of %d bytes, %v", h.Kind, size, len(b), err)
		}
		if r.Advances() {
			seq++
		}
		if r.Kind != h.Kind || r.Flags != h.Flags || r.Volume != h.Volume || r.Offset != h.Offset || r.Length != h.Length || r.Seq != seq {
			t.Errorf("%s came back as %s", h.Kind, r)
		}
		if c := journal.ChecksumRecord(&r); c != r.CRC {
			t.Errorf("%s: ChecksumRecord gives %08x, record has %08x", r, c, r.CRC)
		}
		if size > 70000 {
			continue
		}
		for n := range len(b) {
			if _, _, err := journal.Parse(b[:n]); err == nil {
				t.Fatalf("%s parses when cut to %d of %d bytes", r, n, len(b))
			}
		}
		// Every byte is covered but position, synced and hcrc, which belong to one journal.
		for n := range len(b) {
			if n >= 8 && n < 16 || n >= 52 && n < 56 || n >= 60 && n < 64 {
				continue
			}
			b[n] ^= 0x10
			if _, _, err := journal.Parse(b); err == nil {
				t.Errorf("%s parses with byte %d changed", r, n)
			}
			b[n] ^= 0x10
		}
	}
}

// craft makes the bytes of a record from its header fields, with the right checksum.
func craft(change func(b []byte)) []byte {
	b := make([]byte, 128)
	le := binary.LittleEndian
	le.PutUint16(b, 0x4A50)
	b[2], b[3] = 1, byte(journal.KindUpdate)
	le.PutUint32(b[4:], 9)
	le.PutUint64(b[16:], 1)
	le.PutUint64(b[32:], 64)
	change(b)
	sum := append(append([]byte(nil), b[16:48]...), b[4], b[5], b[6], b[7], b[48], b[49], b[3], 0)
	n := min(le.Uint64(b[32:]), 64)
	if b[3] != byte(journal.KindUpdate) && b[3] != byte(journal.KindControl) {
		n = 0
	}
	le.PutUint32(b[56:], crc32.Checksum(append(sum, b[64:64+n]...), crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestParseRefuses(t *testing.T) {
	le := binary.LittleEndian
	for _, row := range []struct {
		name   string
		want   error
		change func(b []byte)
	}{
		{"nothing, to see that the others are right but for one thing", nil, func([]byte) {}},
		{"other magic", journal.ErrCorrupt, func(b []byte) { b[0] = 0 }},
		{"version 0", journal.ErrCorrupt, func(b []byte) { b[2] = 0 }},
		{"newer version", journal.ErrVersion, func(b []byte) { b[2] = 2 }},
		{"kind 0", journal.ErrCorrupt, func(b []byte) { b[3] = 0 }},
		{"kind not known", journal.ErrCorrupt, func(b []byte) { b[3] = 7 }},
		{"pad, which does not travel", journal.ErrCorrupt, func(b []byte) { b[3] = 1; le.PutUint32(b[4:], 0) }},
		{"flag not known", journal.ErrCorrupt, func(b []byte) { b[48] = 8 }},
		{"flag zero on an update", journal.ErrCorrupt, func(b []byte) { b[48] = 1 }},
		{"flag epoch on an update", journal.ErrCorrupt, func(b []byte) { b[48] = 4 }},
		{"flags epoch and local", journal.ErrCorrupt, func(b []byte) { b[3], b[48] = byte(journal.KindControl), 6 }},
		{"flag local on a skip", journal.ErrCorrupt, func(b []byte) { b[3], b[48] = byte(journal.KindSkip), 2 }},
		{"reserved bytes", journal.ErrCorrupt, func(b []byte) { b[50] = 1 }},
		{"payload too large", journal.ErrTooLarge, func(b []byte) { le.PutUint64(b[32:], journal.MaxPayload+1) }},
		{"length that overflows", journal.ErrCorrupt, func(b []byte) { le.PutUint64(b[32:], math.MaxUint64) }},
		{"range that overflows", journal.ErrCorrupt, func(b []byte) { le.PutUint64(b[24:], math.MaxUint64-10) }},
		{"range beyond 2^63", journal.ErrCorrupt, func(b []byte) {
			b[3] = byte(journal.KindDiscard)
			le.PutUint64(b[24:], 1<<62)
			le.PutUint64(b[32:], 1<<63-1)
		}},
		{"number beyond 2^63", journal.ErrCorrupt, func(b []byte) { le.PutUint64(b[16:], 1<<63+1) }},
		{"bytes behind the payload", journal.ErrCorrupt, func(b []byte) { le.PutUint64(b[32:], 60); b[125] = 1 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := journal.Parse(craft(row.change))
			if row.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantIs(t, err, row.want)
		})
	}
}

// TestRecordGolden holds the bytes of a record fixed: a change of them is a change of the format.
func TestRecordGolden(t *testing.T) {
	b := travelling(t)[2]
	for _, from := range []int{8, 52, 60} {
		clear(b[from : from+4]) // position, synced and hcrc depend on the journal
	}
	clear(b[12:16])
	want := `00000000  50 4a 01 03 ff ff ff ff  00 00 00 00 00 00 00 00  |PJ..............|
00000010  01 00 00 00 00 00 00 00  03 00 00 00 00 00 00 00  |................|
00000020  05 00 00 00 00 00 00 00  00 00 2a 36 fe 9c 97 17  |..........*6....|
00000030  00 00 00 00 00 00 00 00  70 5e db 43 00 00 00 00  |........`
	got := hex.Dump(b)[:len(want)]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record bytes (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range travelling(f) {
		if len(b) < 70000 {
			f.Add(b)
		}
	}
	f.Add(craft(func([]byte) {}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size, err := journal.Parse(b)
		if err != nil {
			return
		}
		if size < journal.HeaderSize || size > len(b) || size%journal.HeaderSize != 0 || len(r.Payload) > journal.MaxPayload {
			t.Fatalf("%s takes %d of %d bytes", r, size, len(b))
		}
		if c := journal.ChecksumRecord(&r); c != r.CRC {
			t.Fatalf("%s: checksum %08x, fields give %08x", r, r.CRC, c)
		}
	})
}

// TestNoAllocation: a write must not make work for the garbage collector.
func TestNoAllocation(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer j.Close()
	data := make([]byte, 512)
	n := testing.AllocsPerRun(1000, func() {
		r, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Volume: 1, Length: 512})
		if err != nil {
			t.Fatal(err)
		}
		copy(r.Payload, data)
		j.Publish(r, r.Checksum())
	})
	if n >= 1 {
		t.Errorf("%.1f allocations per record", n)
	}
}

func TestAppendRecordKeepsChecksum(t *testing.T) {
	from, _, _ := newJournal(t, 1)
	defer from.Close()
	to, _, _ := newJournal(t, 1)
	defer to.Close()
	for range 3 {
		syncTo(t, from, update(t, from, 5000).End)
	}
	buf := make([]byte, 2*mib)
	n, _, err := from.NewCursor(0).Read(buf, len(buf))
	if err != nil {
		t.Fatal(err)
	}
	var sums, got []uint32
	var first journal.Record
	for off := 0; off < n; {
		r, size, err := journal.Parse(buf[off:n])
		if err != nil {
			t.Fatal(err)
		}
		if off == 0 {
			first = r
		}
		sums = append(sums, r.CRC)
		if _, err := to.AppendRecord(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		off += size
	}
	syncTo(t, to, to.Marks().Appended)
	n, _, err = to.NewCursor(0).Read(buf, len(buf))
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < n; {
		r, size, err := journal.Parse(buf[off:n])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.CRC)
		off += size
	}
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Errorf("checksums changed on the way (-sent +stored):\n%s", diff)
	}
	_, err = to.AppendRecord(t.Context(), &first)
	wantIs(t, err, journal.ErrSequence)
	first.Seq = 4
	_, err = to.AppendRecord(t.Context(), &first)
	wantIs(t, err, journal.ErrCorrupt)
}

func TestSequenceRule(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer j.Close()
	add := func(k journal.Kind, f journal.Flags, seq journal.Seq) error {
		r, err := j.Append(t.Context(), journal.Header{Kind: k, Flags: f, Seq: seq}, nil)
		if err == nil && r.Seq != seq {
			t.Errorf("%s asked for number %d, got %d", k, seq, r.Seq)
		}
		return err
	}
	for _, row := range []struct {
		kind  journal.Kind
		flags journal.Flags
		seq   journal.Seq
		want  error
	}{
		{journal.KindUpdate, 0, 2, journal.ErrSequence},
		{journal.KindUpdate, 0, 1, nil},
		{journal.KindUpdate, 0, 1, journal.ErrSequence},
		{journal.KindUpdate, journal.FlagLocal, 2, journal.ErrSequence},
		{journal.KindUpdate, journal.FlagLocal, 1, nil},
		{journal.KindBase, 0, 2, journal.ErrSequence},
		{journal.KindBase, 0, 1, nil},
		{journal.KindSkip, 0, 2, nil},
		{journal.KindControl, 0, 9, journal.ErrSequence},
		{journal.KindControl, journal.FlagEpoch, 9, nil},
		{journal.KindControl, journal.FlagEpoch, 9, journal.ErrSequence},
		{journal.KindDiscard, 0, 10, nil},
	} {
		err := add(row.kind, row.flags, row.seq)
		if row.want == nil && err != nil {
			t.Fatalf("%s with flags %s and number %d: %v", row.kind, row.flags, row.seq, err)
		}
		if row.want != nil {
			wantIs(t, err, row.want)
		}
	}
	var hooked journal.Seq
	if _, err := j.Append(t.Context(), journal.Header{Kind: journal.KindUpdate, AtSeq: func(s journal.Seq) { hooked = s }}, nil); err != nil || hooked != 11 {
		t.Errorf("AtSeq was called with %d, %v", hooked, err)
	}
	_, err := j.Append(t.Context(), journal.Header{Kind: journal.KindPad, Length: 64}, nil)
	wantIs(t, err, journal.ErrInvalid)
	_, err = j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Length: journal.MaxPayload + 1})
	wantIs(t, err, journal.ErrTooLarge)
}
