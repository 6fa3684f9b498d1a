// Command raftmetrics is a metrics store that loses nothing.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/raftmetrics/raftmetrics/bootstrap"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx := bootstrap.StopOn(signals, os.Exit)
	os.Exit(bootstrap.Run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
