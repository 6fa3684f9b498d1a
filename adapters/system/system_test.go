package system

import (
	"testing"
	"testing/fstest"
	"time"
)

func TestMemoryBytes(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	meminfo := file("MemFree: 5 kB\nMemTotal:       2048 kB\n")
	for name, c := range map[string]struct {
		root fstest.MapFS
		want int64
		ok   bool
	}{
		"nothing known": {fstest.MapFS{}, 0, false},
		"machine":       {fstest.MapFS{"proc/meminfo": meminfo}, 2 << 20, true},
		"unlimited group": {fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n"),
		}, 2 << 20, true},
		"limit of the group": {fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("4096\n"),
		}, 4096, true},
		"limit around the group": {fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/memory.max": file("8192\n"),
		}, 8192, true},
		"version 1": {fstest.MapFS{
			"proc/meminfo": meminfo, "sys/fs/cgroup/memory/memory.limit_in_bytes": file("1048576\n"),
		}, 1 << 20, true},
	} {
		got, ok := MemoryBytes(c.root)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: MemoryBytes=%d, %v, want %d, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestClockAndEntropy(t *testing.T) {
	c := NewClock()
	before := c.Monotonic()
	<-c.After(time.Millisecond)
	if after := c.Monotonic(); after-before < time.Millisecond {
		t.Errorf("Monotonic rose by %v over a timer of 1 ms", after-before)
	}
	if d := time.Since(c.Now()); d < 0 || d > time.Minute {
		t.Errorf("Now is %v off", d)
	}
	seen := map[uint64]bool{}
	for range 1000 {
		seen[Entropy{}.Uint64()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 draws gave %d values", len(seen))
	}
}
