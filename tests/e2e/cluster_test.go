package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// verification is the answer of GET /cluster/verify.
type verification struct {
	Equal  bool `json:"equal"`
	Shards []struct {
		Shard   uint32            `json:"shard"`
		Index   uint64            `json:"index"`
		Equal   bool              `json:"equal"`
		Digests map[string]string `json:"digests"`
	} `json:"shards"`
}

func TestASingleNodeIsAClusterOfOne(t *testing.T) {
	p := start(t, t.TempDir(), "NODE_ID=alone", "SHARDS=4", "METRIC_SPREAD=4")
	c := connect(t, p)
	verify := func() (v verification) {
		t.Helper()
		a := do(t, c, 200, "GET", "/cluster/verify", "")
		if err := json.Unmarshal([]byte(a.Body), &v); err != nil || !v.Equal || len(v.Shards) != 4 {
			t.Fatalf("verify %s (%v)", a.Body, err)
		}
		return v
	}
	digests := func(v verification) string {
		var all []string
		for _, s := range v.Shards {
			all = append(all, s.Digests["alone"])
		}
		return strings.Join(all, " ")
	}
	empty := digests(verify())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 25 {
				body := fmt.Sprintf(`{"metric_name":"m%d","value":%d,"tags":{"n":"%d"}}`, w, i, i%7)
				if a, err := c.Do(t.Context(), "POST", "/metrics", body); err != nil || a.Status != 201 {
					t.Errorf("write: %d %s, %v", a.Status, a.Body, err)
				}
			}
		})
	}
	verify() // in the middle of the writes
	writers.Wait()
	inMemory := digests(verify())
	do(t, c, 200, "POST", "/cluster/flush", "")
	if onDisk := digests(verify()); onDisk != inMemory || onDisk == empty {
		t.Errorf("digests %s on disk, %s in memory, %s before", onDisk, inMemory, empty)
	}
	overview := do(t, c, 200, "GET", "/cluster", "").Body
	for _, want := range []string{`{"id":"alone","role":"embedded"`, `"state":"alive"`, `{"shard":3,"leader":"alone"`} {
		if !strings.Contains(overview, want) {
			t.Errorf("GET /cluster=%s, want %s in it", overview, want)
		}
	}
	do(t, c, 409, "POST", "/cluster/nodes", `{"address":"other:8080"}`)
	do(t, c, 409, "DELETE", "/cluster/nodes/alone", "")
	do(t, c, 204, "DELETE", "/cluster/nodes/other", "")
	if a := do(t, c, 200, "POST", "/cluster/rebalance", ""); strings.TrimSpace(a.Body) != `{"moves":[],"under_way":0}` {
		t.Errorf("rebalance %s", a.Body)
	}
}

func TestFreshness(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	do(t, c, 201, "POST", "/metrics", `{"metric_name":"m","value":1}`)
	for query, want := range map[string]string{
		"": "linearizable", "level=linearizable": "linearizable", "level=none": "none",
		"freshness=5s": "none; freshness=5s", "level=none&freshness=100ms": "none; freshness=100ms",
	} {
		for _, path := range []string{"/metrics/m?", "/aggregate?metric=m&"} {
			if got := do(t, c, 200, "GET", path+query, "").Header.Get("X-RaftMetrics-Level"); got != want {
				t.Errorf("%s%s: X-RaftMetrics-Level=%q, want %q", path, query, got, want)
			}
		}
	}
	do(t, c, 400, "GET", "/metrics/m?level=linearizable&freshness=5s", "")
}
