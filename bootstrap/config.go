package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/raftmetrics/raftmetrics/adapters/cli"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// developmentToken is what a node without AUTH_TOKEN takes, on loopback only. It is documented, so
// it protects nothing.
const developmentToken = "raftmetrics-dev-token" //nolint:gosec // not a secret: the README names it

// Kinds of storage.
const (
	storageDuckDB = "duckdb"
	storageMemory = "memory"
)

const (
	duckDBMemoryBytesMax = 4 << 30 // of the default only
	queryCacheBytesMax   = 1 << 30 // of the default only
	memoryBytesUnknown   = 4 << 30 // taken for the machine's memory where that cannot be read
	tokenBytesMin        = 8
	tokenBytesMax        = 4096
)

// Config is how one node is to run. Each field is an option under its env name: a flag, an environment
// variable or a line of the file, in this order. expect completes "expected …" in a refusal.
type Config struct {
	NodeRole          string        `env:"NODE_ROLE" expect:"control or worker, or nothing for a single node" help:"control forms a cluster with the hosts it names, worker waits to be taken into one; leave it unset for a single node"`
	NodeID            string        `env:"NODE_ID" envDefault:"node-1" expect:"1 to 63 letters, digits, '.', '_' or '-'" help:"name of this node, its own in the cluster"`
	Port              uint16        `env:"PORT" envDefault:"8080" expect:"a number from 0 to 65535" help:"TCP port of the HTTP API; 0 takes a free one"`
	BindAddr          string        `env:"BIND_ADDR" expect:"an IP address of this machine or localhost" help:"address to listen on; default: all addresses, without AUTH_TOKEN 127.0.0.1"`
	AuthToken         secret        `env:"AUTH_TOKEN" expect:"8 to 4096 printable ASCII characters without spaces" help:"bearer token that clients must send; without one the node listens on loopback only and takes 'raftmetrics-dev-token'"`
	AuthTokenFile     string        `env:"AUTH_TOKEN_FILE" expect:"a readable file that holds the token" help:"file that holds AUTH_TOKEN, instead of it"`
	AdvertiseAddr     string        `env:"ADVERTISE_ADDR" expect:"host:port" help:"address under which other nodes reach this one; default: as a control node names it, else this host's name and PORT"`
	WorkerHosts       []string      `env:"WORKER_HOSTS" expect:"a comma list of host:port" help:"workers that a control node takes into its cluster, host:port,host:port"`
	ControlHosts      []string      `env:"CONTROL_HOSTS" expect:"a comma list of host:port" help:"the other control nodes, host:port,host:port"`
	ClusterSecret     secret        `env:"CLUSTER_SECRET" expect:"8 to 4096 printable ASCII characters without spaces" help:"shared by nodes to take each other in; default: AUTH_TOKEN"`
	DataDir           string        `env:"DATA_DIR" envDefault:"./data" expect:"a directory that can be created and written" help:"directory of the Raft log and the shard files"`
	Shards            int           `env:"SHARDS" envDefault:"8" expect:"a number from 1 to 4096" help:"number of shards; chosen at the first start, never changed"`
	MetricSpread      int           `env:"METRIC_SPREAD" envDefault:"8" expect:"a number from 1 to 4096" help:"most shards that one metric uses; chosen at the first start, never changed"`
	ReplicationFactor int           `env:"REPLICATION_FACTOR" envDefault:"3" expect:"a number from 1 to 7" help:"copies of each shard, where there are that many nodes; chosen when the cluster is founded"`
	RepairAfter       time.Duration `env:"REPAIR_AFTER" envDefault:"5m" expect:"a duration of at least 10s, such as 5m" help:"how long a node may be silent before its copies are made anew on others"`
	Retention         string        `env:"RETENTION" expect:"a whole number of hours, days or weeks such as 30d, or 0; with rules for metrics behind it such as 30d,debug_*=7d" help:"how long samples are kept, such as 30d, or 30d,debug_*=7d where the first rule that matches a metric decides; chosen when the cluster is founded, changed by PUT /cluster/retention; default: everything is kept"`
	Storage           string        `env:"STORAGE" envDefault:"duckdb" expect:"duckdb or memory" help:"where samples are kept: duckdb (durable) or memory (gone when the process ends, DATA_DIR unused)"`
	DuckDBMemory      byteSize      `env:"DUCKDB_MEMORY_LIMIT" expect:"a size of at least 64MiB, such as 512MiB or 2GiB" help:"most memory DuckDB may use; default: a quarter of the machine's or container's, at most 4GiB"`
	MemtableMemory    byteSize      `env:"MEMTABLE_MEMORY_LIMIT" envDefault:"256MiB" expect:"a size of at least 1MiB, such as 256MiB" help:"most memory of recent samples not yet flushed; over it writes wait, then are refused with 429"`
	QueryCacheMemory  byteSize      `env:"QUERY_CACHE_MEMORY_LIMIT" expect:"a size such as 256MiB, or 0" help:"most memory of columns of shard files that queries ask for again and again, decoded; 0: none; default: an eighth of the machine's or container's, at most 1GiB"`
	DuckDBThreads     int           `env:"DUCKDB_THREADS" envDefault:"0" expect:"a number from 0 to 1024" help:"threads of DuckDB; 0: one a CPU"`
	LogLevel          string        `env:"LOG_LEVEL" envDefault:"info" expect:"debug, info, warn or error" help:"least severe lines to log: debug, info, warn or error"`
	LogFormat         string        `env:"LOG_FORMAT" envDefault:"json" expect:"json or text" help:"form of log lines on standard error: json or text"`

	retention   metric.RetentionPolicy
	development bool            // no token was configured
	explicit    map[string]bool // options that were given, not left to their default
}

// configFile is the option that names the file; it is not part of Config, for it cannot stand in it.
const configFile = "CONFIG_FILE"

// secret is text that never shows in logs.
type secret string

// String hides the text.
func (s secret) String() string { return "(hidden)" }

// GoString hides the text.
func (s secret) GoString() string { return s.String() }

// options lists every option for flags and help.
func options() []cli.Option {
	list := []cli.Option{{Name: configFile, Help: "file of NAME=value lines with any of these options; flags and environment variables win over it"}}
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("env"); name != "" {
			list = append(list, cli.Option{Name: name, Default: f.Tag.Get("envDefault"), Help: f.Tag.Get("help")})
		}
	}
	return list
}

// LoadConfig resolves flag > environment > file > default and checks every value. Errors are of kind
// Invalid and name the option. An empty value counts as unset.
func LoadConfig(flags map[string]string, getenv func(string) string) (Config, error) {
	merged := map[string]string{}
	path := flags[configFile]
	if path == "" {
		path = getenv(configFile)
	}
	if path != "" {
		if err := readConfigFile(path, merged); err != nil {
			return Config{}, err
		}
	}
	for _, o := range options() {
		for _, value := range []string{getenv(o.Name), flags[o.Name]} {
			if value != "" {
				merged[o.Name] = value
			}
		}
	}
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: merged}); err != nil {
		return Config{}, parseFault(err, merged)
	}
	c.explicit = make(map[string]bool, len(merged))
	for name := range merged {
		c.explicit[name] = true
	}
	err := complete(&c)
	return c, err
}

// readConfigFile adds the file's values to merged and refuses what is no option.
func readConfigFile(path string, merged map[string]string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fault.Field(configFile, "can't be read ("+err.Error()+")", "a readable file")
	}
	known := map[string]bool{}
	for _, o := range options() {
		known[o.Name] = o.Name != configFile
	}
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := fmt.Sprintf("%s:%d", path, number)
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			return fault.Field(at, "is not an assignment", "NAME=value")
		case !known[name]:
			return fault.Field(at, "names the unknown option "+strconv.Quote(name), "an option that --help lists")
		}
		if _, twice := merged[name]; twice {
			return fault.Field(at, "sets "+name+" again", "each option once")
		}
		if value != "" {
			merged[name] = value
		}
	}
	return nil
}

// parseFault turns the parser's first complaint into a refusal in our words.
func parseFault(err error, merged map[string]string) error {
	var parse env.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("read configuration: %w", err)
	}
	f, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	return wrong(parse.Name, strconv.Quote(merged[f.Tag.Get("env")]))
}

// wrong refuses the value shown of the Config field called name.
func wrong(name, shown string) error {
	f, ok := reflect.TypeFor[Config]().FieldByName(name)
	if !ok {
		panic("bootstrap: Config has no field " + name)
	}
	return fault.Field(f.Tag.Get("env"), "is "+shown, f.Tag.Get("expect"))
}

// complete checks what types cannot and fills the defaults that depend on the machine.
func complete(c *Config) error {
	if err := completeCluster(c); err != nil {
		return err
	}
	if c.Shards < 1 || c.Shards > shard.CountMax {
		return wrong("Shards", strconv.Itoa(c.Shards))
	}
	if c.MetricSpread < 1 || c.MetricSpread > shard.CountMax {
		return wrong("MetricSpread", strconv.Itoa(c.MetricSpread))
	}
	var err error
	if c.retention, err = metric.ParseRetentionPolicy("RETENTION", c.Retention); err != nil {
		return wrong("Retention", strconv.Quote(c.Retention))
	}
	if c.Storage != storageDuckDB && c.Storage != storageMemory {
		return wrong("Storage", strconv.Quote(c.Storage))
	}
	if c.DuckDBThreads < 0 || c.DuckDBThreads > 1024 {
		return wrong("DuckDBThreads", strconv.Itoa(c.DuckDBThreads))
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		return wrong("LogLevel", strconv.Quote(c.LogLevel))
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		return wrong("LogFormat", strconv.Quote(c.LogFormat))
	}
	return errors.Join(completeMemory(c), completeAccess(c))
}

func completeMemory(c *Config) error {
	bytes, ok := system.MemoryBytes(os.DirFS("/"))
	if !ok {
		bytes = memoryBytesUnknown
	}
	if c.DuckDBMemory == 0 {
		c.DuckDBMemory = byteSize(max(64<<20, min(bytes/4, duckDBMemoryBytesMax)))
	}
	if !c.explicit["QUERY_CACHE_MEMORY_LIMIT"] {
		c.QueryCacheMemory = byteSize(min(bytes/8, queryCacheBytesMax))
	}
	if c.DuckDBMemory < 64<<20 {
		return wrong("DuckDBMemory", c.DuckDBMemory.String())
	}
	if c.MemtableMemory < 1<<20 {
		return wrong("MemtableMemory", c.MemtableMemory.String())
	}
	return nil
}

// cacheBytes is the limit of the query cache as storage wants it: less than 0 for none.
func (c Config) cacheBytes() int64 {
	if c.QueryCacheMemory == 0 {
		return -1
	}
	return int64(c.QueryCacheMemory)
}

// goMemory returns the soft limit of Go's memory that leaves room for DuckDB, whose memory Go does not see,
// in what this machine or container allows; 0: unknown. At it the collector works harder instead of letting
// garbage pile up until the container ends the process.
func (c Config) goMemory() int64 {
	bytes, ok := system.MemoryBytes(os.DirFS("/"))
	if !ok {
		return 0
	}
	return goMemoryOf(bytes, int64(c.DuckDBMemory))
}

func goMemoryOf(bytes, duckDB int64) int64 { return max(bytes/2, bytes/10*9-duckDB) }

// completeAccess decides who may connect from where.
func completeAccess(c *Config) error {
	if c.AuthTokenFile != "" {
		if c.AuthToken != "" {
			return fault.Field("AUTH_TOKEN_FILE", "is set beside AUTH_TOKEN", "one of the two")
		}
		content, err := os.ReadFile(c.AuthTokenFile)
		if err != nil {
			return wrong("AuthTokenFile", strconv.Quote(c.AuthTokenFile)+" ("+err.Error()+")")
		}
		c.AuthToken = secret(strings.TrimSpace(string(content)))
		if c.AuthToken == "" {
			return wrong("AuthTokenFile", "an empty file")
		}
	}
	if c.AuthToken == "" && c.role() != cluster.Embedded {
		return fault.Field("AUTH_TOKEN", "is missing", "a token, the same on every node of the cluster")
	}
	if c.AuthToken == "" {
		c.development = true
		c.AuthToken = developmentToken
		if c.BindAddr == "" {
			c.BindAddr = "127.0.0.1"
		}
		if !isLoopback(c.BindAddr) {
			return fault.Field("AUTH_TOKEN", "is missing while BIND_ADDR is "+c.BindAddr, "a token, or BIND_ADDR on loopback")
		}
	}
	if !isToken(string(c.AuthToken)) {
		return wrong("AuthToken", "not usable")
	}
	if c.ClusterSecret != "" && !isToken(string(c.ClusterSecret)) {
		return wrong("ClusterSecret", "not usable")
	}
	if c.BindAddr != "" && c.BindAddr != "localhost" {
		if _, err := netip.ParseAddr(c.BindAddr); err != nil {
			return wrong("BindAddr", strconv.Quote(c.BindAddr))
		}
	}
	return nil
}

func isToken(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return len(text) >= tokenBytesMin && len(text) <= tokenBytesMax
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// listenAddr is where the server listens.
func (c Config) listenAddr() string {
	return net.JoinHostPort(c.BindAddr, strconv.Itoa(int(c.Port)))
}

// localURL is how this machine reaches the server.
func (c Config) localURL() string {
	host := c.BindAddr
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(int(c.Port)))
}
