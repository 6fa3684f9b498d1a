package fleet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// owner returns which of the processes holds the connection whose local end is source: the kernel's
// table of connections tells its inode, and the processes' descriptors who has it open.
func owner(source *net.TCPAddr, processes map[int]string) string {
	if source == nil {
		return ""
	}
	content, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	ip := source.IP.To4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], source.Port)
	inode := ""
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[1] == local {
			inode = fields[9]
		}
	}
	if inode == "" {
		return ""
	}
	for pid, name := range processes {
		descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, d := range descriptors {
			if target, err := os.Readlink(d); err == nil && target == "socket:["+inode+"]" {
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
