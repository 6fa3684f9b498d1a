package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFailedFlushTellsTheNodesLogs: what a node said before is in the error.
func TestFailedFlushTellsTheNodesLogs(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not_flushed", http.StatusServiceUnavailable)
	}))
	defer refusing.Close()
	log := &tail{}
	for range 2 * tailBytesMax / 10 {
		_, _ = log.Write([]byte("forgotten\n"))
	}
	_, _ = log.Write([]byte("the disk is on fire\n"))
	s := &system{urls: []string{refusing.URL}, told: log.told}
	err := s.flush(t.Context())
	if err == nil || !strings.Contains(err.Error(), "flush answered 503: not_flushed") || !strings.HasSuffix(err.Error(), "the disk is on fire\n") {
		t.Errorf("err=%v, want the answer and the log's end", err)
	}
	if kept := len(log.mu.kept); kept > 2*tailBytesMax {
		t.Errorf("%d bytes kept, want at most %d", kept, 2*tailBytesMax)
	}
}
