package bootstrap

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/raftmetrics/raftmetrics/adapters/cli"
)

// Run executes the program's arguments (without its name) and returns the exit code. The end of ctx
// stops a running server in order.
func Run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, args, cli.Program{
		Options: options(),
		Limits:  limits(),
		Version: version(),
		Serve: func(ctx context.Context, flags map[string]string) error {
			c, err := LoadConfig(flags, getenv)
			if err != nil {
				return err
			}
			return serve(ctx, c, getenv, stderr)
		},
		Health: func(ctx context.Context, flags map[string]string, out io.Writer) error {
			c, err := LoadConfig(flags, getenv)
			if err != nil {
				return err
			}
			return cli.Probe(ctx, c.localURL(), string(c.AuthToken), out)
		},
	}, stdout, stderr)
}

// The variables by which Go itself is told the limit of its memory and how much the heap may grow; they win.
const (
	goMemoryLimit = "GOMEMLIMIT"
	goHeapGrowth  = "GOGC"
)

const (
	// heapGrowth is by how many percent the heap grows before garbage is collected. A heap that doubles, as Go's
	// own 100 has it, is what a node with a million series has no room for. No cost of it could be measured.
	heapGrowth = 50
	// heapFloorBytes is held and never touched, so that it takes no memory but counts as heap: without it, a
	// node that holds little collects its garbage every few megabytes, after every second large answer.
	heapFloorBytes = 64 << 20
)

// serve runs a node until ctx ends.
func serve(ctx context.Context, c Config, getenv func(string) string, stderr io.Writer) error {
	logger, err := newLogger(c, stderr)
	if err != nil {
		return err
	}
	if limit := c.goMemory(); limit > 0 && getenv(goMemoryLimit) == "" {
		debug.SetMemoryLimit(limit)
	}
	if getenv(goHeapGrowth) == "" {
		debug.SetGCPercent(heapGrowth)
	}
	floor := make([]byte, heapFloorBytes)
	defer runtime.KeepAlive(floor)
	logger.Info().Object("config", c).Str("version", version()).Msg("starting")
	if c.development {
		logger.Warn().Msg("no AUTH_TOKEN is set: listening on loopback only, with the documented development token")
	}
	node, err := NewNode(ctx, c, logger)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return node.Run(ctx)
}
