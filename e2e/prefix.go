package e2e

import "pairfs/e2e/prefix"

// The checker's words, for the tests of this package: what they write, remember and look at is that of package prefix.
type (
	History = prefix.History
	Write   = prefix.Write
	Stamp   = prefix.Stamp
	Mark    = prefix.Mark
	Image   = prefix.Image
	Prefix  = prefix.Prefix
	Defect  = prefix.Defect
)

// Sector is the unit of writes and checks, [Always] the floor that demands every acknowledged write.
const (
	Sector = prefix.Sector
	Always = prefix.Always
)

// NewHistory makes an empty history, see [prefix.NewHistory].
func NewHistory(run uint64) *History { return prefix.NewHistory(run) }

// Fill makes p the payload of a write, see [prefix.Fill].
func Fill(p []byte, m Mark) { prefix.Fill(p, m) }

// ParseMark reads what a sector says about itself, see [prefix.ParseMark].
func ParseMark(s []byte) (m Mark, zero, ok bool) { return prefix.ParseMark(s) }

// AlignedBuffer returns n bytes for direct I/O, see [prefix.AlignedBuffer].
func AlignedBuffer(n int) []byte { return prefix.AlignedBuffer(n) }

// CheckFiles opens the targets as images and checks them together: they are to have every write that was acknowledged before floor.
func CheckFiles(h *History, targets []Target, floor Stamp) (Prefix, error) {
	return checkFiles(h, targets, prefix.Before(floor))
}

// checkFiles is CheckFiles with any demand.
func checkFiles(h *History, targets []Target, must prefix.Demand) (Prefix, error) {
	var images []Image
	for _, t := range targets {
		img, f, err := t.image()
		if err != nil {
			return Prefix{}, err
		}
		defer f.Close()
		images = append(images, img)
	}
	pictures, err := prefix.Read(images...)
	if err != nil {
		return Prefix{}, err
	}
	return h.Check(pictures, must)
}
