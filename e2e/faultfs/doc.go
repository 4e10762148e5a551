// Package faultfs is a disk that fails on request, under a program that knows nothing of it: a folder is mounted somewhere else by a process of its
// own, which passes every request on but for those that a [Fault] names. It is for files that are read and written by code which cannot be given
// another file than that of the system, as the database of a site, which is mapped into memory.
//
// The process that serves the mount is this program, executed anew (see [Serve]), so that neither the daemon under test nor the test itself can wait for
// itself. It ends with the test. Requests of the test to it are lines of JSON, one fault each, which replaces the one before, and a line with the number
// of requests that the one before had failed answers it.
//
// Not passed on is O_DIRECT: requests of FUSE are not aligned in this process's memory. What is behind the mount is no slower or faster disk, and no
// power cut: what was written is in the folder.
package faultfs
