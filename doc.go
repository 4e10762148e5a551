// Package pairfs is the root of a FUSE file system whose files are data volumes, each replicated in write order to another host.
//
// It holds no code. Dependencies between the packages below it point one way, and a test of this package keeps it so:
//
//	cmd/pairfs → fs → replica → journal
//	                          → quicwire
//
// cmd/pairfs is the daemon and its command line, fs the file system and its control files, replica the engine of both sides, journal the
// log on disk and its staging ring, quicwire the frames and the connection between two sites. journal and quicwire import nothing else of
// this module but crashpoint, which is empty in all builds but those that a test lets die at a named moment. e2e runs the binary and looks at it
// from outside.
package pairfs
