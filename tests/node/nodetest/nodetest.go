// Package nodetest is the main of test packages that run the real server.
package nodetest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

var binary = flag.String("binary", "", "the server to test; built anew when empty")

// Binary returns the path of the server to test, while Run runs.
func Binary() string { return *binary }

// Run builds the server, unless -binary names one, runs the tests, looks for goroutines that they left behind,
// and returns the exit code. The flags must be parsed.
func Run(m *testing.M) int {
	if *binary == "" {
		folder, err := os.MkdirTemp("", "raftmetrics-test-")
		if err != nil {
			return failed(err)
		}
		defer func() { _ = os.RemoveAll(folder) }() // a leftover in the temporary directory harms nothing
		if *binary, err = node.Build(context.Background(), folder); err != nil {
			return failed(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		return failed(err)
	}
	return code
}

func failed(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, err)
	return 1
}
