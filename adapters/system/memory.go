package system

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// Files that tell how much memory there is, below the file system's root.
const (
	memInfoFile    = "proc/meminfo"
	selfCgroupFile = "proc/self/cgroup"
	cgroupFolder   = "sys/fs/cgroup"
	cgroupV1File   = "sys/fs/cgroup/memory/memory.limit_in_bytes"
)

// MemoryBytes returns how much memory this process may use: the machine's, or its control group's
// limit where that is less. root is the file system's root. ok is false where neither can be read.
func MemoryBytes(root fs.FS) (bytes int64, ok bool) {
	bytes = math.MaxInt64
	if total, found := memTotal(root); found {
		bytes = total
	}
	for _, name := range limitFiles(root) {
		if limit, found := readLimit(root, name); found {
			bytes = min(bytes, limit)
		}
	}
	return bytes, bytes < math.MaxInt64
}

// memTotal reads the machine's memory, which the kernel gives in KiB.
func memTotal(root fs.FS) (int64, bool) {
	content, err := fs.ReadFile(root, memInfoFile)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(content)) {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		return kib << 10, err == nil
	}
	return 0, false
}

// limitFiles names the files that may hold a limit: of the control group and of every one around it.
func limitFiles(root fs.FS) []string {
	files := []string{cgroupV1File}
	content, err := fs.ReadFile(root, selfCgroupFile)
	if err != nil {
		return files
	}
	for line := range strings.Lines(string(content)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok {
			continue
		}
		for folder := path.Join(cgroupFolder, group); strings.HasPrefix(folder, cgroupFolder); folder = path.Dir(folder) {
			files = append(files, path.Join(folder, "memory.max"))
		}
	}
	return files
}

func readLimit(root fs.FS, name string) (int64, bool) {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64) // "max" is no limit
	return limit, err == nil && limit > 0
}
