package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

var founding = Record{ClusterID: "00000000deadbeef", Shards: 8, Spread: 8, MapVersion: 1, StorageKind: "duckdb"}

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !strings.Contains(err.Error(), "already closed") {
			t.Error(err)
		}
	})
	return d
}

func TestLockExcludesASecondOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := open(t, path)
	if _, err := Open(path); fault.From(err).Code() != "data_dir_locked" {
		t.Fatalf("second Open: %v, want data_dir_locked", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestFoundKeepsTheFirstRecord(t *testing.T) {
	d := open(t, t.TempDir())
	first, err := d.Found(founding)
	if err != nil {
		t.Fatal(err)
	}
	again := founding
	again.ClusterID = "ffffffffffffffff"
	if got, err := d.Found(again); err != nil || got != first {
		t.Fatalf("Found again=%+v, %v, want %+v", got, err, first)
	}
}

func TestRecordGolden(t *testing.T) {
	d := open(t, t.TempDir())
	founded, err := d.Found(founding)
	if err != nil || founded.Founded {
		t.Fatalf("Found=%+v, %v, want a record that is not founded yet", founded, err)
	}
	if err := d.SetFounded(founded); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Found(founding); err != nil || !r.Founded {
		t.Fatalf("Found=%+v, %v, want it founded", r, err)
	}
	got, err := os.ReadFile(filepath.Join(d.Path(), recordFile))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "cluster.golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("record=\n%s\nwant\n%s", got, want)
	}
}

func TestFoundRefusesOtherNumbers(t *testing.T) {
	d := open(t, t.TempDir())
	if _, err := d.Found(founding); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Record){
		"SHARDS":            func(r *Record) { r.Shards = 16 },
		"METRIC_SPREAD":     func(r *Record) { r.Spread = 4 },
		"STORAGE":           func(r *Record) { r.StorageKind = "memory" },
		"shard map version": func(r *Record) { r.MapVersion = 2 },
	} {
		other := founding
		change(&other)
		_, err := d.Found(other)
		if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), name+":") {
			t.Errorf("%s changed: %v, want an Invalid error that names it", name, err)
		}
	}
}

func TestFoundRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, c := range map[string]struct {
		file, content string
		code          string
	}{
		"foreign file":  {"photos.txt", "x", "data_dir_foreign"},
		"lost record":   {"raftlog", "x", "data_dir_foreign"},
		"not JSON":      {recordFile, "{", "cluster_record_damaged"},
		"empty record":  {recordFile, `{"format":1}`, "cluster_record_damaged"},
		"unknown field": {recordFile, `{"format":1,"cluster_id":"a","shards":8,"metric_spread":8,"x":1}`, "cluster_record_damaged"},
		"newer format":  {recordFile, `{"format":2,"cluster_id":"a"}`, "format_unknown"},
	} {
		d := open(t, t.TempDir())
		if err := os.WriteFile(filepath.Join(d.Path(), c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Found(founding); fault.From(err) == nil || fault.From(err).Code() != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

func TestFoundAfterACrashWhileFounding(t *testing.T) {
	d := open(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(d.Path(), recordFile+".new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Found(founding); err != nil {
		t.Fatal(err)
	}
}
