package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// run executes args against a program whose Serve and Health return err, and tells what Serve got.
func run(err error, args ...string) (code int, flags map[string]string, stdout, stderr string) {
	var out, complaints bytes.Buffer
	code = Run(context.Background(), args, Program{
		Options: []Option{{Name: "DATA_DIR", Default: "./data", Help: "where data lives"}, {Name: "PORT", Help: "the port"}},
		Limits:  []Limit{{What: "samples of one write", Most: "100000", Over: "413 too_many_samples"}},
		Version: "v1.2.3",
		Serve: func(_ context.Context, got map[string]string) error {
			flags = got
			return err
		},
		Health: func(_ context.Context, got map[string]string, w io.Writer) error {
			flags = got
			_, _ = io.WriteString(w, "fine\n")
			return err
		},
	}, &out, &complaints)
	return code, flags, out.String(), complaints.String()
}

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		flags  map[string]string // nil: nothing ran
		stdout string
	}{
		{"", ExitStopped, map[string]string{}, ""},
		{"serve", ExitStopped, map[string]string{}, ""},
		{"--data-dir x", ExitStopped, map[string]string{"DATA_DIR": "x"}, ""},
		{"serve --data-dir=x --port 1", ExitStopped, map[string]string{"DATA_DIR": "x", "PORT": "1"}, ""},
		{"health --port 1", ExitStopped, map[string]string{"PORT": "1"}, "fine\n"},
		{"version", ExitStopped, nil, "v1.2.3\n"},
		{"serve again", ExitUsage, nil, ""},
		{"wash", ExitUsage, nil, ""},
		{"--colour red", ExitUsage, nil, ""},
		{"version 2", ExitUsage, nil, ""},
		{"--data-dir", ExitUsage, nil, ""},
	} {
		code, flags, stdout, stderr := run(nil, strings.Fields(c.args)...)
		if code != c.code || stdout != c.stdout || (flags == nil) != (c.flags == nil) || !maps.Equal(flags, c.flags) {
			t.Errorf("%q: code=%d flags=%v stdout=%q stderr=%q, want %d %v %q", c.args, code, flags, stdout, stderr, c.code, c.flags, c.stdout)
		}
		if (stderr != "") != (code != ExitStopped) {
			t.Errorf("%q: stderr=%q with code %d", c.args, stderr, code)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{errors.New("disk on fire"), ExitFailed},
		{fault.New(fault.Conflict, "data_dir_locked", "in use"), ExitFailed},
		{fault.Field("PORT", "is x", "a number"), ExitUsage},
	} {
		if code, _, _, stderr := run(c.err); code != c.code || !strings.Contains(stderr, c.err.Error()) {
			t.Errorf("%v: code=%d stderr=%q, want %d", c.err, code, stderr, c.code)
		}
	}
}

func TestHelpListsOptions(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"health", "-h"}} {
		code, _, stdout, _ := run(nil, args...)
		for _, want := range []string{"--data-dir", "DATA_DIR: where data lives (default ./data)", "--port"} {
			if code != ExitStopped || !strings.Contains(stdout, want) {
				t.Errorf("%v: code=%d, no %q in\n%s", args, code, want, stdout)
			}
		}
	}
}

func TestHelpListsLimits(t *testing.T) {
	f := func(want bool, args ...string) {
		t.Helper()
		if _, _, stdout, _ := run(nil, args...); strings.Contains(stdout, "  samples of one write  100000  413 too_many_samples\n") != want {
			t.Errorf("%v: limits shown: %v, want %v, in\n%s", args, !want, want, stdout)
		}
	}
	f(true, "--help")
	f(true, "serve", "--help")
	f(false, "health", "--help")
	f(false, "version", "--help")
}

func TestProbe(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || r.Header.Get("Authorization") != "Bearer token-of-mine" {
			t.Errorf("asked %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "body")
	}))
	for _, status = range []int{http.StatusOK, http.StatusServiceUnavailable} {
		var out bytes.Buffer
		err := Probe(t.Context(), server.URL, "token-of-mine", &out)
		if (err == nil) != (status == http.StatusOK) || out.String() != "body" {
			t.Errorf("status %d: Probe=%v, out=%q", status, err, out.String())
		}
	}
	server.Close()
	if err := Probe(t.Context(), server.URL, "token-of-mine", io.Discard); err == nil {
		t.Error("no server: Probe=nil, want an error")
	}
}
