package cluster_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

func policy(t *testing.T, text string) metric.RetentionPolicy {
	t.Helper()
	p, err := metric.ParseRetentionPolicy("RETENTION", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRetentionIsChangedThroughAnyNode(t *testing.T) {
	w := trio(t)
	ctx := context.Background()
	for name, text := range map[string]string{control: "30d,debug_*=7d", worker1: "3h", worker2: "0"} {
		want := policy(t, text)
		if err := w.nodes[name].retention.SetRetention(ctx, want); err != nil {
			t.Fatalf("through %s: %v", name, err)
		}
		epoch := w.nodes[name].view.Epoch()
		if err := w.nodes[name].retention.SetRetention(ctx, want); err != nil || w.nodes[name].view.Epoch() != epoch {
			t.Fatalf("the same again through %s: %v, epoch %d after %d", name, err, w.nodes[name].view.Epoch(), epoch)
		}
		w.turns(2)
		for asked, n := range w.nodes {
			got, err := n.retention.Retention(ctx)
			overview, _ := n.observer.Overview(ctx)
			if err != nil || !got.Equal(want) || !overview.Retention.Equal(want) {
				t.Fatalf("%s has %v (%v), overview %v, want %v", asked, got, err, overview.Retention, want)
			}
		}
	}
	wrong := metric.RetentionPolicy{Default: time.Minute}
	if err := w.nodes[control].retention.SetRetention(ctx, wrong); fault.KindOf(err) != fault.Invalid {
		t.Fatalf("a minute was taken: %v", err)
	}
	nameless := metric.RetentionPolicy{Rules: []metric.RetentionRule{{Keep: time.Hour}}}
	if err := w.nodes[control].director.Propose(ctx, appcluster.Command{Retention: &nameless}); err == nil {
		t.Fatal("a rule without a pattern got through the log")
	}
}

// TestTheClusterTimeIsTheMedianOfLivingClocks sets clocks wrong: few of them, or half, move nothing ahead.
func TestTheClusterTimeIsTheMedianOfLivingClocks(t *testing.T) {
	w := trio(t)
	leader := w.nodes[control]
	want := func(what string, skew time.Duration) {
		t.Helper()
		w.turns(2)
		now, ok := leader.director.ClusterTime()
		correct := metric.Timestamp((w.now + skew).Microseconds())
		if !ok || now < correct-2_000_000 || now > correct {
			t.Fatalf("%s: cluster time %v (%v), want about %v", what, now, ok, correct)
		}
		for name, n := range w.nodes {
			if !n.alive {
				continue
			}
			if told, ok := n.reporter.ClusterTime(); !ok || told < correct-3_000_000 || told > correct {
				t.Fatalf("%s: %s was told %v (%v), want about %v", what, name, told, ok, correct)
			}
		}
	}
	want("true clocks", 0)
	w.nodes[worker1].skew = 1000 * time.Hour
	want("one ahead", 0)
	leader.skew = -1000 * time.Hour
	want("one ahead, one behind", 0)
	leader.skew = 0
	w.nodes[worker2].alive = false
	w.turns(5)
	want("two left, one of them ahead", 0)
	leader.skew = 1000 * time.Hour
	want("all that is left ahead", 1000*time.Hour)
	if _, ok := w.nodes[worker1].director.ClusterTime(); ok {
		t.Fatal("a node that does not lead the meta group claims to know the time")
	}
	w.nodes[worker1].alive = false
	w.turns(5)
	if now, ok := leader.director.ClusterTime(); ok {
		t.Fatalf("one of three tells the time %v for all", now)
	}
}

// TestStateFormats reads the golden files of every format, and writes the oldest that says it all.
func TestStateFormats(t *testing.T) {
	m, err := shard.NewMap(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	node, err := cluster.NewNode(mustID(t, "node-1"), cluster.Embedded, "127.0.0.1:8080", 7)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"state-1.json": "", "state-2.json": "30d,debug_*=7d,keep_*=0"} {
		state, err := cluster.Found(cluster.Blueprint{ClusterID: "c1", Shards: m, ReplicationFactor: 3}, []cluster.Node{node})
		if err != nil {
			t.Fatal(err)
		}
		want := policy(t, text)
		if err := state.SetRetention(want); err != nil {
			t.Fatal(err)
		}
		encoded, err := appcluster.EncodeState(state)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", file)
		if *rewrite {
			if err := os.WriteFile(path, append(encoded, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(encoded)+"\n" != string(golden) {
			t.Errorf("%s: got %s\nwant %s", file, encoded, golden)
		}
		read, err := appcluster.DecodeState(golden)
		if err != nil || !read.Retention().Equal(want) || read.Epoch() != state.Epoch() {
			t.Errorf("%s: read retention %v at epoch %d, %v", file, read.Retention(), read.Epoch(), err)
		}
	}
	if _, err := appcluster.DecodeState([]byte(`{"format":3,"shard_map_version":1}`)); fault.From(err).Code() != "unknown_format" {
		t.Errorf("format 3 was read: %v", err)
	}
	for _, hours := range []string{"-1", "1000000000000"} {
		data := `{"format":2,"cluster_id":"c","shard_map_version":1,"shards":1,"metric_spread":1,"replication_factor":1,"retention":{"default_hours":` + hours + `}}`
		if _, err := appcluster.DecodeState([]byte(data)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s hours were read: %v", hours, err)
		}
	}
}
