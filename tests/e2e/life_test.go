package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
	"github.com/raftmetrics/raftmetrics/tests/node/nodetest"
)

// runToEnd runs the server with only this environment until it ends by itself.
func runToEnd(t *testing.T, environment []string, args ...string) (code int, output string) {
	t.Helper()
	p, err := node.Spawn(t.Context(), nodetest.Binary(), environment, args...)
	if err != nil {
		t.Fatal(err)
	}
	code, err = p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return code, p.Log()
}

func TestRefusedStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("COLOUR=red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environment, args, mentions string
	}{
		{"PORT=http", "", "PORT"},
		{"", "--port 70000", "PORT"},
		{"", "serve --no-such-flag", "no-such-flag"},
		{"", "dance", "dance"},
		{"NODE_ROLE=king", "", "NODE_ROLE"},
		{"NODE_ROLE=worker", "", "NODE_ID"},
		{"NODE_ROLE=worker NODE_ID=w", "", "AUTH_TOKEN"},
		{"NODE_ROLE=worker NODE_ID=w AUTH_TOKEN=long-enough WORKER_HOSTS=a:1", "", "WORKER_HOSTS"},
		{"BIND_ADDR=0.0.0.0", "", "AUTH_TOKEN"},
		{"STORAGE=floppy", "", "STORAGE"},
		{"CONFIG_FILE=" + file, "", "COLOUR"},
		{"SHARDS=0", "", "SHARDS"},
	} {
		environment := append(strings.Fields(c.environment), "DATA_DIR="+t.TempDir())
		if code, output := runToEnd(t, environment, strings.Fields(c.args)...); code != 2 || !strings.Contains(output, c.mentions) {
			t.Errorf("%s raftmetrics %s: exit code %d, %q; want 2 and %s mentioned", c.environment, c.args, code, output, c.mentions)
		}
	}
}

func TestClusterRecordIsKept(t *testing.T) {
	folder := t.TempDir()
	stop(t, start(t, folder, "SHARDS=4"))
	code, output := runToEnd(t, []string{"DATA_DIR=" + folder, "PORT=0", "SHARDS=8"})
	if code != 2 || !strings.Contains(output, "SHARDS: is 8, but this cluster was founded with 4") {
		t.Errorf("other SHARDS: exit code %d, %s", code, output)
	}
	stop(t, start(t, folder, "SHARDS=4"))
}

func TestDataDirIsLocked(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	code, output := runToEnd(t, []string{"DATA_DIR=" + folder, "PORT=0"})
	if code != 1 || !strings.Contains(output, "in use") {
		t.Errorf("second process: exit code %d, %s; want 1 and the reason", code, output)
	}
	do(t, connect(t, p), 200, "GET", "/health", "")
}

func TestTakenPort(t *testing.T) {
	p := start(t, t.TempDir())
	port := p.URL[strings.LastIndexByte(p.URL, ':')+1:]
	code, output := runToEnd(t, []string{"DATA_DIR=" + t.TempDir(), "PORT=" + port})
	if code != 1 || !strings.Contains(output, "address already in use") {
		t.Errorf("taken port: exit code %d, %s; want 1 and the reason", code, output)
	}
}

func TestCommands(t *testing.T) {
	p := start(t, t.TempDir())
	port := p.URL[strings.LastIndexByte(p.URL, ':')+1:]
	if code, output := runToEnd(t, []string{"PORT=" + port}, "health"); code != 0 || !strings.Contains(output, "operational") {
		t.Errorf("health: exit code %d, %s", code, output)
	}
	stop(t, p)
	if code, _ := runToEnd(t, []string{"PORT=" + port}, "health"); code != 1 {
		t.Errorf("health without a server: exit code %d, want 1", code)
	}
	if code, output := runToEnd(t, nil, "version"); code != 0 || !strings.Contains(output, "raftmetrics") {
		t.Errorf("version: exit code %d, %s", code, output)
	}
	code, output := runToEnd(t, nil, "--help")
	for _, name := range []string{"PORT", "AUTH_TOKEN", "DATA_DIR", "SHARDS", "METRIC_SPREAD", "STORAGE", "DUCKDB_MEMORY_LIMIT", "LOG_LEVEL"} {
		if code != 0 || !strings.Contains(output, name) {
			t.Errorf("--help: exit code %d without %s", code, name)
		}
	}
}

// TestStopLosesNothing stops amid writes: every request is answered, and the next start finds everything
// flushed, with nothing to replay.
func TestStopLosesNothing(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	c := p.NewClient(2)
	w := writer{size: 20}
	const before = 100 // acknowledgements before the stop
	acked := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- w.write(t.Context(), c, acked) }()
	for range before {
		<-acked
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for running := true; running; {
		select {
		case <-acked:
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		}
	}
	c.Close()
	if code, err := p.Wait(); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v, want 0; log:\n%s", code, err, p.Log())
	}
	p = start(t, folder)
	if !strings.Contains(p.Log(), `"replayed":0`) {
		t.Errorf("the start after an orderly stop replays: %s", p.Log())
	}
	c = connect(t, p)
	if err := w.check(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestIdempotencyKeyOverRestart(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	const body = `[{"metric_name":"k","value":1},{"metric_name":"k","value":2,"tags":{"a":"b"}},{"metric_name":"l","value":3}]`
	first := do(t, connect(t, p), 201, "POST", "/metrics", body, "Idempotency-Key", "key-1")
	p.Kill()
	p = start(t, folder)
	c := connect(t, p)
	again := do(t, c, 201, "POST", "/metrics", body, "Idempotency-Key", "key-1")
	if again.Body != first.Body {
		t.Errorf("the retry was answered %s, the first attempt %s", again.Body, first.Body)
	}
	do(t, c, 422, "POST", "/metrics", strings.Replace(body, "3", "4", 1), "Idempotency-Key", "key-1")
	a := do(t, c, 200, "GET", "/aggregate?metric=k&agg=count,sum", "")
	if want := `{"metric":"k","aggregations":{"count":2,"sum":3}}`; strings.TrimSpace(a.Body) != want {
		t.Errorf("stored %s, want %s", a.Body, want)
	}
	stop(t, p)
	c = connect(t, start(t, folder))
	do(t, c, 201, "POST", "/metrics", body, "Idempotency-Key", "key-1")
	if b := do(t, c, 200, "GET", "/aggregate?metric=k&agg=count,sum", ""); b.Body != a.Body {
		t.Errorf("after an orderly restart: %s, want %s", b.Body, a.Body)
	}
}

func TestSingleSampleReplyOverRestart(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	const body = `{"metric_name":"k","value":1}` // its timestamp is the time of receipt
	first := do(t, connect(t, p), 201, "POST", "/metrics", body, "Idempotency-Key", "key-2")
	p.Kill()
	again := do(t, connect(t, start(t, folder)), 201, "POST", "/metrics", body, "Idempotency-Key", "key-2")
	if again.Body != first.Body {
		t.Errorf("the retry was answered %s, the first attempt %s", again.Body, first.Body)
	}
}

func TestMemoryStorage(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "unused")
	p := start(t, folder, "STORAGE=memory")
	c := connect(t, p)
	do(t, c, 201, "POST", "/metrics", `{"metric_name":"m","value":1}`)
	do(t, c, 200, "GET", "/metrics/m", "")
	stop(t, p)
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("STORAGE=memory made %s: %v", folder, err)
	}
}

// TestLostLog takes away what acknowledged samples were in: the start is refused, not quietly empty.
func TestLostLog(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder)
	do(t, connect(t, p), 201, "POST", "/metrics", `{"metric_name":"m","value":1}`)
	p.Kill()
	if err := os.RemoveAll(filepath.Join(folder, "raftlog")); err != nil {
		t.Fatal(err)
	}
	code, output := runToEnd(t, []string{"DATA_DIR=" + folder, "PORT=0"})
	if code != 1 || !strings.Contains(output, "is lost") {
		t.Errorf("without its log: exit code %d, %s; want 1 and the reason", code, output)
	}
}

// TestLostShardFiles takes away flushed samples, whose entries the log may have dropped already.
func TestLostShardFiles(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder, "SHARDS=1")
	c := connect(t, p)
	do(t, c, 201, "POST", "/metrics", `{"metric_name":"m","value":1}`)
	stop(t, p)
	if err := os.RemoveAll(filepath.Join(folder, "shards")); err != nil {
		t.Fatal(err)
	}
	p, err := node.Spawn(t.Context(), nodetest.Binary(), []string{"DATA_DIR=" + folder, "PORT=0", "SHARDS=1"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if p.AwaitReady(t.Context()) != nil { // refused, because the log does not reach back
		if !strings.Contains(p.Log(), "restore DATA_DIR from a backup") {
			t.Errorf("without its shard files the server ended without the reason:\n%s", p.Log())
		}
		return
	}
	do(t, connect(t, p), 200, "GET", "/metrics/m", "") // replayed from the log
}

// exitTerminated is the exit code of a server that the second signal ended.
const exitTerminated = 128 + int(syscall.SIGTERM)

// TestSecondSignalForces holds a request open, so that draining waits, and signals twice.
func TestSecondSignalForces(t *testing.T) {
	p := start(t, t.TempDir())
	body, release := newSlowBody()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/metrics", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+node.Token)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-body.asked // the request is on its way
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(p.Log(), "stopping") {
		if time.Now().After(deadline) {
			t.Fatalf("the signal was not noticed:\n%s", p.Log())
		}
		time.Sleep(time.Millisecond)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if code, err := p.Wait(); err != nil || code != exitTerminated || time.Since(began) > 2*time.Second {
		t.Errorf("after the second signal: exit code %d, %v, %v, want %d", code, err, time.Since(began), exitTerminated)
	}
	cancel()
	release()
	<-done
}

// slowBody gives its first byte and then nothing until it is let go.
type slowBody struct {
	asked chan struct{}
	held  chan struct{}
	given bool
}

func newSlowBody() (body *slowBody, release func()) {
	b := &slowBody{asked: make(chan struct{}), held: make(chan struct{})}
	return b, func() { close(b.held) }
}

// Read implements io.Reader.
func (b *slowBody) Read(p []byte) (int, error) {
	if !b.given {
		b.given = true
		return copy(p, "["), nil
	}
	select {
	case <-b.asked:
	default:
		close(b.asked)
	}
	<-b.held
	return 0, io.ErrUnexpectedEOF
}
