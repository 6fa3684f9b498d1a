// Package docker builds the image, starts the documented stack of three containers and breaks it.
package docker

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// imageFlag saves the minutes of a build while one works on this test.
var imageFlag = flag.String("image", "", "the image to test, which stays; built anew and removed at the end when empty")

const (
	engineMax  = 20 * time.Second // to ask the engine for its version
	buildMax   = 12 * time.Minute
	stackMax   = 4 * time.Minute // for all that happens between up and down
	removeMax  = 2 * time.Minute
	commandMax = time.Minute
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine skips the test unless it was asked for, and fails it when no engine or compose command answers.
// The context that it returns ends at an interrupt, so that what the test made is removed even then.
func engine(t *testing.T) (ctx context.Context, compose []string) {
	t.Helper()
	if os.Getenv("RAFTMETRICS_DOCKER") != "1" {
		t.Skip("builds an image and starts containers: set RAFTMETRICS_DOCKER=1, or run make test-docker")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	asking, cancel := context.WithTimeout(ctx, engineMax)
	defer cancel()
	version, err := command(asking, nil, "docker", "version", "--format", "{{.Server.Version}}")
	if err != nil {
		t.Fatalf("no container engine answers: %v", err)
	}
	for _, compose = range [][]string{{"docker-compose"}, {"docker", "compose"}} {
		if v, err := command(asking, nil, append(compose, "version", "--short")...); err == nil {
			t.Logf("engine %s, %s %s", version, strings.Join(compose, " "), v)
			return ctx, compose
		}
	}
	t.Fatal("neither docker-compose nor docker compose is installed")
	return nil, nil
}

// requirePorts fails the test when something listens where the stack is to be published.
func requirePorts(ctx context.Context, t *testing.T) {
	t.Helper()
	var config net.ListenConfig
	for _, s := range services {
		l, err := config.Listen(ctx, "tcp", s.address)
		if err != nil {
			t.Fatalf("the stack publishes %s, and that is taken; stop what listens there: %v", s.address, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// command runs a program in the repository's root and returns what it wrote to standard output, without
// the spaces around it. environment is added to this process's.
func command(ctx context.Context, environment []string, words ...string) (string, error) {
	var out, diagnostics bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(words, " "), errors.Join(err, context.Cause(ctx)), tail(out.String()), tail(diagnostics.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

const tailBytesMax = 4 << 10

// tail returns the end of a text.
func tail(text string) string { return text[max(0, len(text)-tailBytesMax):] }
