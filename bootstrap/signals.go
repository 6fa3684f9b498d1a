package bootstrap

import (
	"context"
	"os"
	"syscall"
)

// exitSignal is what shells add to a signal's number for the exit code of a process that it ended.
const exitSignal = 128

// StopOn returns a context that ends with the first of signals; with the second, exit is called with the exit
// code that tells of it. signals is to be registered once, with room for two, and stay so: with a handler that
// is given up after the first, a signal that arrives before the next one is there would be lost. (Two signals
// that are sent before the process ran at all are one to the kernel.)
func StopOn(signals <-chan os.Signal, exit func(code int)) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // lives as long as the process
		<-signals
		cancel()
		exit(exitCodeOf(<-signals))
	}()
	return ctx
}

func exitCodeOf(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return exitSignal + int(number)
	}
	return exitSignal
}
