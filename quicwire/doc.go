// Package quicwire carries frames between two sites over QUIC.
package quicwire
