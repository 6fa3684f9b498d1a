package bootstrap

import (
	"os"
	"syscall"
	"testing"
)

// TestSecondSignalOfAnInstant has both signals there before anyone looked at the first: neither is lost.
func TestSecondSignalOfAnInstant(t *testing.T) {
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	signals <- os.Interrupt
	exited := make(chan int, 1)
	ctx := StopOn(signals, func(code int) { exited <- code })
	if code := <-exited; code != 130 {
		t.Errorf("exit code %d, want 130, that of a process that the second signal ended", code)
	}
	if ctx.Err() == nil {
		t.Error("the first signal did not end the context")
	}
}

// TestFirstSignalStopsInOrder ends the context and nothing else.
func TestFirstSignalStopsInOrder(t *testing.T) {
	signals := make(chan os.Signal, 2)
	exited := make(chan int, 1)
	ctx := StopOn(signals, func(code int) { exited <- code })
	if ctx.Err() != nil {
		t.Fatal("stopped without a signal")
	}
	signals <- syscall.SIGTERM
	<-ctx.Done()
	select {
	case code := <-exited:
		t.Errorf("the first signal ended the process with %d", code)
	default:
	}
	signals <- syscall.SIGTERM
	if code := <-exited; code != 143 {
		t.Errorf("exit code %d, want 143", code)
	}
}
