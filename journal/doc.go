// Package journal is the write-ahead log of one journal group.
package journal
