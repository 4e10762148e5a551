package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

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
}

// newRecordLine describes a record.
func newRecordLine(r *journal.Record) recordLine {
	return recordLine{
		Position: uint64(r.Position), Seq: uint64(r.Seq), Kind: r.Kind.String(), Flags: r.Flags.String(), Volume: r.Volume,
		Offset: r.Offset, Length: r.Length, Time: r.When().UTC().Format(timeForm), CRC: fmt.Sprintf("%08x", r.CRC),
	}
}

// timeForm is how times are printed: as in the control files.
const timeForm = "2006-01-02T15:04:05.000Z07:00"

// Run prints every record that the journal volumes hold, oldest first.
func (c *journalDumpCmd) Run(a *app) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	return walkJournal(dir, func(r *journal.Record) error { return c.print(a.stdout, newRecordLine(r)) })
}

// print prints one record.
func (c *journalDumpCmd) print(w io.Writer, r recordLine) error {
	if c.JSON {
		return printJSON(w, r)
	}
	_, err := fmt.Fprintf(w, "%d %s seq=%d %s flags=%s volume=%d offset=%d length=%d crc=%s\n",
		r.Position, r.Time, r.Seq, r.Kind, r.Flags, r.Volume, r.Offset, r.Length, r.CRC)
	return err
}

type journalStatCmd struct {
	journalArgs
	jsonFlag
}

// journalStat is what "journal stat" counts.
type journalStat struct {
	Records   int            `json:"records"`
	Kinds     map[string]int `json:"kinds"`
	DataBytes uint64         `json:"data-bytes"`
	FirstSeq  uint64         `json:"first-seq"`
	LastSeq   uint64         `json:"last-seq"`
	FirstTime string         `json:"first-time"`
	LastTime  string         `json:"last-time"`
}

// add counts one record.
func (s *journalStat) add(r *journal.Record) {
	at := r.When().UTC().Format(timeForm)
	if s.Records == 0 {
		s.FirstSeq, s.FirstTime = uint64(r.Seq), at
	}
	s.Records++
	s.Kinds[r.Kind.String()]++
	s.DataBytes += uint64(len(r.Payload))
	s.LastSeq, s.LastTime = uint64(r.Seq), at
}

// Run counts the records.
func (c *journalStatCmd) Run(a *app) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	began := time.Now()
	s := journalStat{Kinds: map[string]int{}}
	err = walkJournal(dir, func(r *journal.Record) error {
		s.add(r)
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, s)
	}
	rows := [][]string{
		{"records", fmt.Sprint(s.Records)}, {"data", sizeText(fmt.Sprint(s.DataBytes))},
		{"sequence numbers", fmt.Sprintf("%d to %d", s.FirstSeq, s.LastSeq)},
		{"times", s.FirstTime + " to " + s.LastTime}, {"read in", time.Since(began).Round(time.Millisecond).String()},
	}
	for k := journal.KindPad; k <= journal.KindSkip; k++ {
		rows = append(rows, []string{k.String(), fmt.Sprint(s.Kinds[k.String()])})
	}
	return table(a.stdout, rows)
}

// walkJournal calls f for every record.
func walkJournal(dir string, f func(*journal.Record) error) error {
	if err := journal.Dump(nil, dir, f); err != nil {
		return fmt.Errorf("read the journal in %s: %w", dir, err)
	}
	return nil
}
