// Package prefix decides whether the volumes of a group hold the image of one prefix of what hosts did to them. It is the one checker of all
// rings: of package replica's tests and its simulated runs, of package e2e's sites and of its machines that lose power. It imports nothing of
// the product, so that it shares no code with what it checks.
//
// Every write describes itself: each sector of it says which write of which run it belongs to, at which place of which volume, with a checksum
// ([Mark], [Fill]). A [History], in the memory of the test, has for each write and discard the moments between which it happened. [Read] makes
// a [Picture] of an image: which writes it shows. [History.Check] decides, of the pictures of any of the volumes together:
//
//   - order and prefix (I1, I4): there is one order of writes, over all volumes, that agrees with what every host could know of it, and the
//     pictures show what a prefix of it leaves. Writes under way together may have either order, but one, everywhere,
//     unless both went straight to a store;
//   - the promise to hosts (I2): the prefix has what a [Demand] names: after a kill all that was acknowledged ([Acknowledged]), after a power cut all
//     that a sync covered and each synchronous write ([Synced]), behind a marker what was acknowledged before it ([Before]);
//   - no torn write: a write, of up to 1 MiB, is in the prefix with all its sectors or not at all;
//   - bytes (I7): a sector is zeroes or just what a write put there.
//
// What does not fit is a [Defect] of one kind, with the sector where it shows.
//
// A history that loses something goes on in one of three ways. [History.Lose]: a power cut took acknowledged writes that nothing had promised
// to keep. [History.Fork]: hosts go on at an S-VOL that was taken over, from a prefix that is known; the rest is given up, and may not come back.
// [Restart]: they go on from whatever the volumes hold, of several histories even; what is not there at that moment may not come back.
//
// The crash tests of package journal do not use it. They know nothing of hosts, volumes and requests: they check that a log gives back the records
// that were appended, in sequence, which is a simpler question about other bytes. The model of replica's overlay compares whole contents.
//
// The decision is tested itself: a table of histories with one defect each that it must reject, naming the defect, and one of histories that are
// right, however unlikely they look.
package prefix
