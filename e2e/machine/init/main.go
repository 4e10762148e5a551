// Command init is the first process of a machine that package machine boots.
package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"pairfs/e2e/machine"
)

func main() {
	fmt.Println("init:", machine.Init())
	// A first process that ends makes the kernel panic; this way qemu ends, and the console says why.
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
