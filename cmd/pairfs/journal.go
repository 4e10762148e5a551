package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pairfs/journal"
)

// journalCmd holds the commands that look into a journal without its site. They change nothing.
type journalCmd struct {
	Dump journalDumpCmd `cmd:"" help:"Print the records, one line each."`
	Stat journalStatCmd `cmd:"" help:"Count the records."`
}

// journalArgs name a journal: the directory of its journal volumes, or a state directory and a group.
type journalArgs struct {
	Dir   string `arg:"" help:"Directory of journal volumes; or a state directory, then with a group."`
	Group string `arg:"" optional:"" help:"Group of that state directory."`
}

// dir returns the directory of the journal volumes.
func (j journalArgs) dir() (string, error) {
	dir := j.Dir
	if j.Group != "" {
		if err := checkName(j.Group); err != nil {
			return "", err
		}
		dir = filepath.Join(j.Dir, "journals", j.Group)
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("look into the journal: %w", err)
	}
	return dir, nil
}

type journalDumpCmd struct {
	journalArgs
	jsonFlag
}

// recordLine is a record in JSON.
type recordLine struct {
	Position uint64 `json:"position"`
	Seq      uint64 `json:"seq"`
	Kind     string `json:"kind"`
	Flags    string `json:"flags"`
	Volume   uint32 `json:"volume"`
	Offset   uint64 `json:"offset"`
	Length   uint64 `json:"length"`
	Time     string `json:"time"`
	CRC      string `json:"crc"`
	Bad      string `json:"bad,omitempty"` // why the record is not valid
}

// newRecordLine describes a record.
func newRecordLine(r *journal.DumpRecord) recordLine {
	line := recordLine{
		Position: uint64(r.Position), Seq: uint64(r.Seq), Kind: r.Kind.String(), Flags: r.Flags.String(), Volume: r.Volume,
		Offset: r.Offset, Length: r.Length, Time: r.When().UTC().Format(timeForm), CRC: fmt.Sprintf("%08x", r.CRC),
	}
	if r.Err != nil {
		line.Bad = r.Err.Error()
	}
	return line
}

// timeForm is how times are printed: as in the control files.
const timeForm = "2006-01-02T15:04:05.000Z07:00"

// Run prints every record that the journal volumes hold, oldest first.
func (c *journalDumpCmd) Run(a *app) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	sum, err := journal.Dump(nil, dir, func(r *journal.DumpRecord) error { return c.print(a.stdout, newRecordLine(r)) })
	return dumped(dir, sum, err)
}

// print prints one record.
func (c *journalDumpCmd) print(w io.Writer, r recordLine) error {
	if c.JSON {
		return printJSON(w, r)
	}
	bad := ""
	if r.Bad != "" {
		bad = " BAD: " + r.Bad
	}
	_, err := fmt.Fprintf(w, "%d %s seq=%d %s flags=%s volume=%d offset=%d length=%d crc=%s%s\n",
		r.Position, r.Time, r.Seq, r.Kind, r.Flags, r.Volume, r.Offset, r.Length, r.CRC, bad)
	return err
}

type journalStatCmd struct {
	journalArgs
	jsonFlag
}

// journalStat is what "journal stat" says.
type journalStat struct {
	ID        string         `json:"id"`
	Created   string         `json:"created"`
	Volumes   int            `json:"volumes"`
	Capacity  int64          `json:"capacity-bytes"`
	Records   int            `json:"records"` // without pads
	Bad       int            `json:"bad"`
	Kinds     map[string]int `json:"kinds"`
	DataBytes int64          `json:"data-bytes"`
	First     uint64         `json:"first-position"`
	Last      uint64         `json:"last-position"`
	LastSeq   uint64         `json:"last-seq"`
}

// Run counts the records.
func (c *journalStatCmd) Run(a *app) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	s := journalStat{Kinds: map[string]int{}}
	sum, err := journal.Dump(nil, dir, func(r *journal.DumpRecord) error {
		s.Kinds[r.Kind.String()]++
		s.DataBytes += int64(len(r.Payload))
		return nil
	})
	s.ID, s.Created = hex.EncodeToString(sum.ID[:]), sum.Created.UTC().Format(timeForm)
	s.Volumes, s.Capacity, s.Records, s.Bad = len(sum.Volumes), sum.Capacity, sum.Records, sum.Bad
	s.First, s.Last, s.LastSeq = uint64(sum.First), uint64(sum.Last), uint64(sum.LastSeq)
	if err == nil {
		err = c.print(a.stdout, &s)
	}
	return dumped(dir, sum, err)
}

// print prints the figures.
func (c *journalStatCmd) print(w io.Writer, s *journalStat) error {
	if c.JSON {
		return printJSON(w, s)
	}
	rows := [][]string{
		{"journal", s.ID + ", made " + s.Created},
		{"volumes", fmt.Sprintf("%d, %s", s.Volumes, sizeText(fmt.Sprint(s.Capacity)))},
		{"records", fmt.Sprint(s.Records)},
		{"data", sizeText(fmt.Sprint(s.DataBytes))},
		{"positions", fmt.Sprintf("%d to %d", s.First, s.Last)},
		{"last sequence number", fmt.Sprint(s.LastSeq)},
	}
	for k := journal.KindPad; k <= journal.KindSkip; k++ {
		rows = append(rows, []string{k.String(), fmt.Sprint(s.Kinds[k.String()])})
	}
	return table(w, rows)
}

// dumped says what reading a journal met. Records of a journal that runs, or of one that was cut off, may be bad.
func dumped(dir string, sum journal.DumpSummary, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("read the journal in %s: %w", dir, err)
	case sum.Bad > 0:
		return fmt.Errorf("records of the journal in %s that are bad: %d; while its site runs the newest may be half written, else see pairfs check", dir, sum.Bad)
	}
	return nil
}
