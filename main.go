// Command raftmetrics is a metrics store that loses nothing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/raftmetrics/raftmetrics/bootstrap"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default handling is back, so that a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(bootstrap.Run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
