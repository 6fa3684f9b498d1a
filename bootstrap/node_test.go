package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newNode builds a node on dataDir that listens on a free port.
func newNode(t *testing.T, environment map[string]string) *Node {
	t.Helper()
	n, err := tryNode(t, environment)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryNode(t *testing.T, environment map[string]string) (*Node, error) {
	t.Helper()
	c, err := load(environment, map[string]string{"PORT": "0"})
	if err != nil {
		t.Fatal(err)
	}
	return NewNode(t.Context(), c, zerolog.New(io.Discard))
}

// during runs n, calls use, stops n and returns what Run returned.
func during(t *testing.T, n *Node, use func()) error {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	use()
	stop()
	return <-ended
}

// ask sends a request, tries again while the node is not up, and returns status and body.
func ask(t *testing.T, n *Node, method, path, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(10 * time.Second); ; {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+developmentToken)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return resp.StatusCode, string(content)
		}
	}
}

func TestNodeKeepsSamplesOverRestart(t *testing.T) {
	folder := t.TempDir()
	environment := map[string]string{"DATA_DIR": folder, "SHARDS": "2"}
	err := during(t, newNode(t, environment), func() {})
	if err != nil {
		t.Fatalf("stop before the first request: %v", err)
	}
	n := newNode(t, environment)
	err = during(t, n, func() {
		if status, body := ask(t, n, http.MethodPost, "/metrics", `{"metric_name":"m","value":1.5}`); status != http.StatusCreated {
			t.Errorf("POST: %d %s", status, body)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	n = newNode(t, environment)
	if n.member.replayed != 0 {
		t.Errorf("%d entries are replayed after an orderly stop", n.member.replayed)
	}
	err = during(t, n, func() {
		if status, body := ask(t, n, http.MethodGet, "/metrics/m", ""); status != http.StatusOK || !strings.Contains(body, `"value":1.5`) {
			t.Errorf("GET: %d %s", status, body)
		}
		_, metrics := ask(t, n, http.MethodGet, "/metrics", "")
		for _, want := range []string{"raftmetrics_replication_log_sync_seconds", "raftmetrics_shard_leader", "raftmetrics_http_requests_total"} {
			if !strings.Contains(metrics, want) {
				t.Errorf("GET /metrics does not show %s", want)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNodeInMemory(t *testing.T) {
	n := newNode(t, map[string]string{"STORAGE": "memory", "DATA_DIR": filepath.Join(t.TempDir(), "none")})
	err := during(t, n, func() {
		ask(t, n, http.MethodPost, "/metrics", `[{"metric_name":"m","value":1},{"metric_name":"m","value":2}]`)
		if _, body := ask(t, n, http.MethodGet, "/aggregate?metric=m&agg=sum", ""); !strings.Contains(body, `"sum":3`) {
			t.Errorf("aggregate: %s", body)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFailedLogEndsTheNode reports what the log store reports when a write or fsync failed.
func TestFailedLogEndsTheNode(t *testing.T) {
	n := newNode(t, map[string]string{"STORAGE": "memory"})
	broken := errors.New("the disk is gone")
	n.failLog(broken)
	n.failLog(errors.New("and again"))
	if err := n.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run=%v, want %v", err, broken)
	}
}

func TestFailedPartEndsTheNode(t *testing.T) {
	n := newNode(t, map[string]string{"STORAGE": "memory"})
	if err := n.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "http") {
		t.Errorf("Run without a listener=%v, want an error of http", err)
	}
}

func TestNewNodeGivesEverythingBack(t *testing.T) {
	folder := t.TempDir()
	running := newNode(t, map[string]string{"DATA_DIR": folder})
	if _, err := tryNode(t, map[string]string{"DATA_DIR": folder}); fault.From(err).Code() != "data_dir_locked" {
		t.Errorf("second node: %v, want data_dir_locked", err)
	}
	if err := during(t, running, func() {}); err != nil {
		t.Fatal(err)
	}
	_, err := tryNode(t, map[string]string{"DATA_DIR": folder, "SHARDS": "3"})
	if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.From(err).Message(), "SHARDS:") {
		t.Errorf("other SHARDS: %v", err)
	}
	// The refused starts left no lock behind.
	if err := during(t, newNode(t, map[string]string{"DATA_DIR": folder}), func() {}); err != nil {
		t.Fatal(err)
	}
}

func TestLogHidesTheToken(t *testing.T) {
	c, err := load(map[string]string{"AUTH_TOKEN": "s3cret-token"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	logger, err := newLogger(c, &out)
	if err != nil {
		t.Fatal(err)
	}
	logger.Info().Object("config", c).Msg("starting")
	var line struct {
		Node   string
		Config map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Node != "node-1" || line.Config["data_dir"] != "./data" {
		t.Errorf("line=%s, %v", out.String(), err)
	}
	if strings.Contains(out.String(), "s3cret") {
		t.Errorf("the token shows in %s", out.String())
	}
}
