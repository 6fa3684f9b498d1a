// Package node runs the real server as a child process, for tests, benchmarks and the demo.
package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// Token is what a server started without one takes on loopback.
	Token = "raftmetrics-dev-token"

	startDurationMax = 30 * time.Second
	stopDurationMax  = 30 * time.Second
	pollInterval     = 2 * time.Millisecond
	logBytesMax      = 1 << 20
)

// Build compiles the server of the module that holds the working directory into folder and returns the
// path of the binary.
func Build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "raftmetrics")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/raftmetrics/raftmetrics")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return binary, nil
}

// Process is one running server.
type Process struct {
	// URL is where it serves.
	URL string

	cmd    *exec.Cmd
	log    *logTail
	exited chan struct{} // closed when it has ended
	err    error         // how it ended, valid after exited
}

// Start runs binary with a free port of loopback and data in dataDir, and waits until it is ready.
// environment adds NAME=value settings; nothing else of this process's environment reaches it. The end
// of ctx kills the server.
func Start(ctx context.Context, binary, dataDir string, environment ...string) (*Process, error) {
	p, err := Spawn(ctx, binary, append([]string{"DATA_DIR=" + dataDir, "PORT=0"}, environment...))
	if err != nil {
		return nil, err
	}
	if err := p.AwaitReady(ctx); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w; its log:\n%s", err, p.Log())
	}
	return p, nil
}

// Spawn runs binary with exactly this environment and waits for nothing.
func Spawn(ctx context.Context, binary string, environment []string, args ...string) (*Process, error) {
	p := &Process{
		cmd:    exec.CommandContext(ctx, binary, args...),
		log:    &logTail{address: make(chan string, 1)},
		exited: make(chan struct{}),
	}
	p.cmd.Env = environment
	p.cmd.Stdout = p.log
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// AwaitReady waits for the line that tells the address and for /readyz, and sets URL.
func (p *Process) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDurationMax)
	defer cancel()
	select {
	case address := <-p.log.address:
		p.URL = "http://" + address
	case <-p.exited:
		return fmt.Errorf("the server ended while starting: %w", errors.Join(p.err, errors.New("no address")))
	case <-ctx.Done():
		return fmt.Errorf("the server told no address: %w", ctx.Err())
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the server ended before it was ready: %w", errors.Join(p.err, errors.New("not ready")))
		case <-ctx.Done():
			return fmt.Errorf("the server did not get ready: %w", ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the newest part of what the server wrote.
func (p *Process) Log() string { return p.log.String() }

// Exited is closed when the server has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Kill ends the server at once, as a crash would, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // fails only when it has ended already
	<-p.exited
}

// Signal sends sig to the server.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop asks the server to end and returns its exit code; after a bound it is killed, which is an error.
func (p *Process) Stop() (code int, err error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return -1, fmt.Errorf("signal the server: %w", err)
	}
	return p.Wait()
}

// Wait waits for the server to end by itself and returns its exit code; after a bound it is killed, which
// is an error.
func (p *Process) Wait() (code int, err error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(stopDurationMax):
		p.Kill()
		return -1, fmt.Errorf("the server did not end within %v; its log:\n%s", stopDurationMax, p.Log())
	}
}

// CPU returns the processor time used by a server that has ended.
func (p *Process) CPU() time.Duration {
	<-p.exited
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// logTail keeps the newest output and finds the address in it.
type logTail struct {
	address chan string // gets the address once

	mu struct {
		sync.Mutex
		kept  []byte
		line  []byte
		found bool
	}
}

// Write implements io.Writer.
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.kept = append(l.mu.kept, p...)
	if len(l.mu.kept) > 2*logBytesMax { // seldom, for it copies
		l.mu.kept = append(l.mu.kept[:0], l.mu.kept[len(l.mu.kept)-logBytesMax:]...)
	}
	if l.mu.found {
		return len(p), nil
	}
	l.mu.line = append(l.mu.line, p...)
	scanner := bufio.NewReader(bytes.NewReader(l.mu.line))
	for {
		line, err := scanner.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			l.mu.line = append([]byte(nil), line...)
			return len(p), nil
		}
		var entry struct{ Message, Address string }
		if json.Unmarshal(line, &entry) == nil && entry.Message == "listening" {
			l.mu.found, l.mu.line = true, nil
			l.address <- entry.Address
			return len(p), nil
		}
	}
}

// String returns what is kept.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.mu.kept)
}
