package wiretest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Ports of sites. They lie below those that the kernel gives to sockets which ask for any (net.ipv4.ip_local_port_range), for a site that is
// opened again must find its own free.
const (
	firstPort = 10000
	lastPort  = 32000
)

// portsGiven makes each port of this process another one; two processes begin at different places.
var portsGiven atomic.Int64

// FreeAddr returns a loopback address whose UDP port nobody has now, and which the kernel and this process give to nobody else. Another process that
// asks may come to it after some hundred ports.
func FreeAddr() (string, error) {
	for range lastPort - firstPort {
		port := firstPort + (int64(os.Getpid())*97+portsGiven.Add(1))%(lastPort-firstPort)
		c, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		return c.LocalAddr().String(), c.Close()
	}
	return "", fmt.Errorf("no port from %d to %d is free", firstPort, lastPort)
}
