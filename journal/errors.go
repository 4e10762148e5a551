package journal

import "errors"

// The sentinels of this package, for errors.Is; the text around them names the place and what to do.
var (
	// ErrRing says that the staging ring which must be there is not, or is another one. Nothing was changed.
	ErrRing = errors.New("staging ring is missing")
	// ErrExist is returned by Create when the folder already holds a journal.
	ErrExist = errors.New("journal exists already")
	// ErrCorrupt says that bytes which were promised to be there are not, or are not what was written. It never means a torn tail.
	ErrCorrupt = errors.New("journal is damaged")
	// ErrVersion says that a journal volume or record was written by a newer version of this format; nothing is damaged.
	ErrVersion = errors.New("journal format is newer than this program")
	// ErrFull says that the journal volumes have no room for the record until Free is called.
	ErrFull = errors.New("journal volumes are full")
	// ErrNeeded says that a journal volume cannot be removed, or none added, as the journal is now.
	ErrNeeded = errors.New("journal volumes are needed as they are")
	// ErrFreed says that the asked position or sequence number was freed, so its record is gone.
	ErrFreed = errors.New("journal position was freed")
	// ErrFailed says that an earlier flush did not reach the disk. It is final until the journal is opened again.
	ErrFailed = errors.New("journal has failed")
	// ErrClosed says that the journal was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrTooLarge says that a payload is larger than MaxPayload.
	ErrTooLarge = errors.New("record is too large")
	// ErrSequence says that an explicit sequence number does not follow the last one.
	ErrSequence = errors.New("sequence number does not follow")
	// ErrInvalid says that a record, option or position given by the caller breaks the rules of this package.
	ErrInvalid = errors.New("invalid journal argument")
)
