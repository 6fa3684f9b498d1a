package bootstrap

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestRetention founds a node with a retention, has it refuse what is too old, and changes it.
func TestRetention(t *testing.T) {
	n := newNode(t, map[string]string{"STORAGE": "memory", "SHARDS": "2", "RETENTION": "30d,debug_*=2h"})
	err := during(t, n, func() {
		write := func(name string, age time.Duration, status int, code string) {
			t.Helper()
			body := fmt.Sprintf(`{"metric_name":%q,"value":1,"timestamp":%q}`, name, time.Now().Add(-age).UTC().Format(time.RFC3339))
			if got, text := ask(t, n, http.MethodPost, "/metrics", body); got != status || !strings.Contains(text, code) {
				t.Fatalf("%s of %v ago: %d %s, want %d %s", name, age, got, text, status, code)
			}
		}
		for deadline := time.Now().Add(10 * time.Second); ; { // until the node knows the time, it takes all
			if _, told := n.member.reporter.ClusterTime(); told {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the node does not learn the time")
			}
			time.Sleep(10 * time.Millisecond)
		}
		write("cpu", 29*24*time.Hour, http.StatusCreated, "cpu")
		write("cpu", 31*24*time.Hour, http.StatusUnprocessableEntity, "timestamp_expired")
		write("debug_x", 4*time.Hour, http.StatusUnprocessableEntity, "timestamp_expired")

		const hour = `{"default":"1h","rules":[]}`
		if status, text := ask(t, n, http.MethodPut, "/cluster/retention", hour); status != http.StatusOK || strings.TrimSpace(text) != hour {
			t.Fatalf("PUT: %d %s", status, text)
		}
		if status, text := ask(t, n, http.MethodGet, "/cluster/retention", ""); status != http.StatusOK || strings.TrimSpace(text) != hour {
			t.Fatalf("GET: %d %s", status, text)
		}
		if _, text := ask(t, n, http.MethodGet, "/cluster", ""); !strings.Contains(text, hour) {
			t.Fatalf("GET /cluster does not show %s: %s", hour, text)
		}
		write("debug_x", 4*time.Hour, http.StatusUnprocessableEntity, "kept for 1h")
		for deadline := time.Now().Add(10 * time.Second); ; { // the keeper forgets what is there
			status, text := ask(t, n, http.MethodGet, "/metrics/cpu", "")
			if status == http.StatusNotFound {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the old sample is still there: %d %s", status, text)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if _, text := ask(t, n, http.MethodGet, "/metrics", ""); !strings.Contains(text, "raftmetrics_samples_expired_total 3") ||
			!strings.Contains(text, "raftmetrics_retention_cutoff_age_seconds") {
			t.Errorf("the node's metrics lack what was refused:\n%s", text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnotherRetentionThanTheClustersIsToldOf(t *testing.T) {
	folder := t.TempDir()
	start := func(retention string) string {
		t.Helper()
		var log strings.Builder
		c, err := load(map[string]string{"DATA_DIR": folder, "SHARDS": "1", "RETENTION": retention}, map[string]string{"PORT": "0"})
		if err != nil {
			t.Fatal(err)
		}
		n, err := NewNode(t.Context(), c, zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.close.run(); err != nil {
			t.Fatal(err)
		}
		if err := n.member.place.close.run(); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	const told = "PUT /cluster/retention"
	if log := start("30d"); strings.Contains(log, told) {
		t.Errorf("the founder warns: %s", log)
	}
	if log := start(""); strings.Contains(log, told) {
		t.Errorf("a node that was told nothing warns: %s", log)
	}
	if log := start("7d"); !strings.Contains(log, told) || !strings.Contains(log, `"cluster":"30d"`) {
		t.Errorf("no warning: %s", log)
	}
}
