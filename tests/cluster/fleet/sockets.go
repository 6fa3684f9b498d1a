package fleet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
)

// owner returns which of the processes holds the connection from source to target: the kernel tells its
// inode, and the processes' descriptors who has it open. The kernel is asked for this one connection, by
// its sock_diag: its table in /proc takes milliseconds to read, and misses some while others come and go.
func owner(source, target net.Addr, processes map[int]string) string {
	socket, err := netlink.SocketGet(source, target)
	if err != nil || socket.INode == 0 {
		return "" // closed by now
	}
	want := fmt.Sprintf("socket:[%d]", socket.INode)
	for pid, name := range processes {
		descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, d := range descriptors {
			if link, err := os.Readlink(d); err == nil && link == want {
				return name
			}
		}
	}
	return ""
}

// portFirst and portAfter bound the ports that nodes get: below those that the kernel gives to outgoing
// connections, so that none takes a stopped node's port.
const (
	portFirst = 20_000
	portAfter = 32_000
	portTries = 1000
)
