package e2e

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// wantErrno fails the test unless err is a refusal with the errno.
func wantErrno(t *testing.T, err error, errno unix.Errno) {
	t.Helper()
	var refused *CtlError
	if !errors.As(err, &refused) || refused.Errno != errno || refused.Sentence == "" {
		t.Errorf("got %v, want %s and a sentence", err, unix.ErrnoName(errno))
	}
}

// TestStrangersAreRefused brings a third site, kyoto, that osaka does not know, and one that pins the wrong key.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	s := Two(t)
	kyoto := Start(t, "kyoto")
	kyoto.MakeVolume("db", 16*mib)
	before := s.B.snapshot(t)

	// Osaka does not know kyoto.
	kyoto.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s", s.B.Listen, s.B.Fingerprint()))
	Until(t, LinkLimit, "osaka has an event with the key that it refused", func() bool {
		return s.B.HasEvent("site", kyoto.Fingerprint())
	})
	wantErrno(t, kyoto.Ctl("pair0", "create volume=db peer=osaka"), unix.EHOSTUNREACH)

	// Kyoto expects another key than osaka's.
	kyoto.Do("peers/osaka", "remove")
	kyoto.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s", s.B.Listen, s.A.Fingerprint()))
	Until(t, LinkLimit, "kyoto says that the key is not the expected one", func() bool {
		return kyoto.HasEvent("site", "not the one pinned") && kyoto.HasEvent("site", s.B.Fingerprint())
	})
	if kyoto.Get("peers/osaka")["connected"] != "no" {
		t.Error("kyoto is connected with a site that has another key than the pinned one")
	}
	wantErrno(t, kyoto.Ctl("pair0", "create volume=db peer=osaka"), unix.EHOSTUNREACH)
	if kyoto.Get("volumes/db")["role"] != "-" {
		t.Error("the refused create left the volume in a pair")
	}
	if after := s.B.snapshot(t); after != before {
		t.Errorf("the stranger changed osaka. Before:\n%s\nAfter:\n%s", before, after)
	}
}

// TestPeersStayInTheirBounds brings a third site that osaka knows: it may not touch what belongs to others, nor more than its quota.
func TestPeersStayInTheirBounds(t *testing.T) {
	t.Parallel()
	s := Two(t)
	kyoto := Start(t, "kyoto")
	s.A.MakeVolume("db", 16*mib)
	s.B.MakeVolume("own", 16*mib)
	s.B.MakeVolume("for-tokyo", 16*mib)
	s.B.Do("volumes/for-tokyo", "reserve peer=tokyo")
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	kyoto.MakeVolume("db", 16*mib)
	kyoto.MakeVolume("big", 33*mib)
	kyoto.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s", s.B.Listen, s.B.Fingerprint()))
	s.B.Do("peers/kyoto", fmt.Sprintf("add address=%s key=%s create=32MiB", kyoto.Listen, kyoto.Fingerprint()))
	Until(t, LinkLimit, "kyoto and osaka are connected", func() bool { return kyoto.Get("peers/osaka")["connected"] == "yes" })
	before := s.B.snapshot(t)
	for _, row := range []struct {
		pair, line string
		errno      unix.Errno
	}{
		{"pair0", "create volume=db peer=osaka remote=other", unix.EEXIST},     // tokyo's pair
		{"pair1", "create volume=db peer=osaka", unix.EBUSY},                   // tokyo's S-VOL
		{"pair1", "create volume=db peer=osaka remote=own", unix.EACCES},       // osaka's own
		{"pair1", "create volume=db peer=osaka remote=for-tokyo", unix.EACCES}, // set aside for another
		{"pair1", "create volume=big peer=osaka", unix.ENOSPC},                 // over the quota
	} {
		wantErrno(t, kyoto.Ctl(row.pair, row.line), row.errno)
	}
	if !s.B.HasEvent("peer/kyoto", "lets kyoto create 32 MiB") {
		t.Error("osaka has no event of the create over the quota")
	}
	if after := s.B.snapshot(t); after != before {
		t.Errorf("kyoto changed osaka. Before:\n%s\nAfter:\n%s", before, after)
	}

	// Within its bounds it may; the quota counts, and is given back.
	kyoto.Do("pair1", "create volume=db peer=osaka remote=kyoto-db")
	kyoto.Wait("pair1", StatusLimit, "PAIR")
	if got := s.B.Int("peers/kyoto", "quota-used-bytes"); got != 16*mib {
		t.Errorf("kyoto used %d bytes of its quota for a volume of 16 MiB", got)
	}
	if s.A.Status("pair0") != "PAIR" {
		t.Error("tokyo's pair suffered")
	}

	// Without a quota nothing may be made.
	wantErrno(t, noQuota(t, s), unix.ENOSPC)
}

// noQuota lets nara, a peer without --create, try to make a volume at osaka.
func noQuota(t *testing.T, s *Sites) error {
	t.Helper()
	nara := Start(t, "nara")
	nara.MakeVolume("x", mib)
	nara.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s", s.B.Listen, s.B.Fingerprint()))
	s.B.Do("peers/nara", fmt.Sprintf("add address=%s key=%s", nara.Listen, nara.Fingerprint()))
	Until(t, LinkLimit, "nara and osaka are connected", func() bool { return nara.Get("peers/osaka")["connected"] == "yes" })
	return nara.Ctl("pair9", "create volume=x peer=osaka")
}

// TestReservedVolume takes an existing volume as S-VOL: only with the same size, and only by the peer it is set aside for.
func TestReservedVolume(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("db", 16*mib)
	s.B.MakeVolume("small", 8*mib)
	s.B.MakeVolume("fits", 16*mib)
	if err := pwrite(s.B.Path("fits"), 4096, 4096); !isWritten(err) {
		t.Fatal(err)
	}
	s.B.Do("volumes/small", "reserve peer=tokyo")
	s.B.Do("volumes/fits", "reserve peer=tokyo")
	wantErrno(t, s.A.Ctl("pair0", "create volume=db peer=osaka remote=small"), unix.EINVAL)
	s.B.Do("volumes/fits", "release")
	wantErrno(t, s.A.Ctl("pair0", "create volume=db peer=osaka remote=fits"), unix.EACCES)
	s.B.Do("volumes/fits", "reserve peer=tokyo")
	s.CreatePair("pair0", "db", "remote=fits")
	s.WaitBoth("pair0", "PAIR")
	if err := SameFile(s.A.Path("db"), s.B.Path("fits")); err != nil {
		t.Error(err)
	}
}

// isWritten reports that pwrite, which looks for refusals, found none.
func isWritten(err error) bool { return err != nil && err.Error() == "4096 bytes were written" }
