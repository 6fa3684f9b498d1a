package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

func load(environment, flags map[string]string) (Config, error) {
	return LoadConfig(flags, func(name string) string { return environment[name] })
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	c, err := load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeID != "node-1" || c.Port != 8080 || c.DataDir != "./data" || c.Shards != 8 || c.MetricSpread != 8 ||
		c.Storage != storageDuckDB || c.MemtableMemory != 256<<20 || c.LogLevel != "info" || c.LogFormat != "json" {
		t.Errorf("defaults=%+v", c)
	}
	if !c.development || c.AuthToken != developmentToken || c.BindAddr != "127.0.0.1" {
		t.Errorf("without a token: development=%v bind=%q", c.development, c.BindAddr)
	}
	if c.DuckDBMemory < 64<<20 || c.DuckDBMemory > 4<<30 {
		t.Errorf("DuckDBMemory=%v, want 64MiB to 4GiB", c.DuckDBMemory)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "# numbers\nSHARDS = 2\n\nMETRIC_SPREAD=2\nNODE_ID=file\nPORT=\n")
	environment := map[string]string{"CONFIG_FILE": file, "METRIC_SPREAD": "3", "NODE_ID": "env", "LOG_LEVEL": ""}
	c, err := load(environment, map[string]string{"NODE_ID": "flag"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Shards != 2 || c.MetricSpread != 3 || c.NodeID != "flag" || c.Port != 8080 || c.LogLevel != "info" {
		t.Errorf("Shards=%d MetricSpread=%d NodeID=%s Port=%d LogLevel=%s, want 2 3 flag 8080 info",
			c.Shards, c.MetricSpread, c.NodeID, c.Port, c.LogLevel)
	}
}

func TestTokenOpensAllAddresses(t *testing.T) {
	for _, environment := range []map[string]string{
		{"AUTH_TOKEN": "s3cret-token"},
		{"AUTH_TOKEN_FILE": write(t, "s3cret-token\n")},
	} {
		c, err := load(environment, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.AuthToken != "s3cret-token" || c.development || c.listenAddr() != ":8080" || c.localURL() != "http://127.0.0.1:8080" {
			t.Errorf("%v: development=%v listen=%s local=%s", environment, c.development, c.listenAddr(), c.localURL())
		}
		if text := fmt.Sprintf("%v %+v %#v %s", c, c, c, c.AuthToken); strings.Contains(text, "s3cret") {
			t.Errorf("the token shows in %s", text)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, value, expected string }{
		{"NODE_ROLE", "king", "control or worker"},
		{"NODE_ROLE", "embedded", "control or worker"},
		{"ADVERTISE_ADDR", "here", "host:port"},
		{"ADVERTISE_ADDR", "here:0", "host:port"},
		{"WORKER_HOSTS", "a:1,b", "host:port"},
		{"CONTROL_HOSTS", ":80", "host:port"},
		{"CLUSTER_SECRET", "short", "8 to 4096"},
		{"REPLICATION_FACTOR", "8", "1 to 7"},
		{"REPAIR_AFTER", "1s", "10s"},
		{"REPAIR_AFTER", "soon", "10s"},
		{"NODE_ID", "a b", "letters"},
		{"PORT", "http", "0 to 65535"},
		{"PORT", "65536", "0 to 65535"},
		{"PORT", "-1", "0 to 65535"},
		{"BIND_ADDR", "127.0.0.1:80", "loopback"},
		{"AUTH_TOKEN", "short", "8 to 4096"},
		{"AUTH_TOKEN", "with a space", "8 to 4096"},
		{"AUTH_TOKEN_FILE", "no such file", "readable"},
		{"SHARDS", "0", "1 to 4096"},
		{"SHARDS", "4097", "1 to 4096"},
		{"SHARDS", "eight", "1 to 4096"},
		{"METRIC_SPREAD", "0", "1 to 4096"},
		{"RETENTION", "forever", "such as 30d"},
		{"RETENTION", "30m", "such as 30d"},
		{"RETENTION", "debug_*=7d", "30d,debug_*=7d"},
		{"STORAGE", "floppy", "duckdb or memory"},
		{"DUCKDB_MEMORY_LIMIT", "1KiB", "64MiB"},
		{"DUCKDB_MEMORY_LIMIT", "80%", "64MiB"},
		{"MEMTABLE_MEMORY_LIMIT", "0", "1MiB"},
		{"QUERY_CACHE_MEMORY_LIMIT", "much", "256MiB"},
		{"DUCKDB_THREADS", "-1", "0 to 1024"},
		{"LOG_LEVEL", "loud", "debug"},
		{"LOG_FORMAT", "xml", "json or text"},
		{"CONFIG_FILE", "no such file", "readable"},
	} {
		_, err := load(map[string]string{c.name: c.value}, nil)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), c.expected) {
			t.Errorf("%s=%q: %v, want an Invalid error that names it and expects %q", c.name, c.value, err, c.expected)
		}
	}
}

func TestRefusesAnOpenNodeWithoutToken(t *testing.T) {
	_, err := load(map[string]string{"BIND_ADDR": "0.0.0.0"}, nil)
	if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), "AUTH_TOKEN:") {
		t.Errorf("BIND_ADDR=0.0.0.0 without a token: %v", err)
	}
	for _, host := range []string{"127.0.0.2", "::1", "localhost"} {
		if _, err := load(map[string]string{"BIND_ADDR": host}, nil); err != nil {
			t.Errorf("BIND_ADDR=%s: %v", host, err)
		}
	}
}

func TestConfigFileRefusals(t *testing.T) {
	for content, want := range map[string]string{
		"COLOUR=red\n":        `"COLOUR"`,
		"CONFIG_FILE=other\n": `"CONFIG_FILE"`,
		"PORT 80\n":           "NAME=value",
		"PORT=1\nPORT=2\n":    ":2: sets PORT again",
	} {
		_, err := load(nil, map[string]string{"CONFIG_FILE": write(t, content)})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an Invalid error with %s", content, err, want)
		}
	}
}

func TestMemory(t *testing.T) {
	bytes, ok := system.MemoryBytes(os.DirFS("/"))
	if !ok {
		bytes = memoryBytesUnknown
	}
	for limit, want := range map[string]int64{"": min(1<<30, bytes/8), "1MiB": 1 << 20, "0": -1} {
		c, err := load(map[string]string{"QUERY_CACHE_MEMORY_LIMIT": limit}, nil)
		if got := c.cacheBytes(); err != nil || got != want {
			t.Errorf("QUERY_CACHE_MEMORY_LIMIT=%q: %d bytes, %v, want %d", limit, got, err, want)
		}
	}
	for _, f := range []struct{ bytes, duckDB, want int64 }{{1000, 250, 650}, {1000, 600, 500}} {
		if got := goMemoryOf(f.bytes, f.duckDB); got != f.want {
			t.Errorf("of %d bytes beside %d for DuckDB Go gets %d, want %d", f.bytes, f.duckDB, got, f.want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "17": 17, "17B": 17, "64KiB": 64 << 10, "1.5GiB": 3 << 29, "256 MiB": 256 << 20, "1GB": 1e9, "2TiB": 2 << 40,
	} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q=%d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "NaN", "1e30", "1 potato", "0x10MiBs"} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q=%d, want an error", text, got)
		}
	}
	for size, want := range map[byteSize]string{0: "0B", 1000: "1000B", 256 << 20: "256MiB", 3 << 29: "1536MiB", 4 << 30: "4GiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d prints %s, want %s", int64(size), got, want)
		}
	}
}
