package datadir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var membership = Membership{
	Format: 1, ClusterID: "00000000deadbeef", Key: []byte("0123456789abcdef0123456789abcdef"), Address: "worker-1:8081",
	Founding: []byte(`{"format":1}`), LogCreated: true,
}

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

func TestIdentityStaysWithTheDirectory(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	first, err := d.Identify("worker-1", "duckdb", 7)
	if err != nil || first.Incarnation != 7 {
		t.Fatalf("Identify=%+v, %v", first, err)
	}
	if again, err := d.Identify("worker-1", "duckdb", 8); err != nil || again != first {
		t.Fatalf("Identify again=%+v, %v, want %+v", again, err, first)
	}
	for name, ask := range map[string]func() error{
		"NODE_ID": func() error { _, err := d.Identify("worker-2", "duckdb", 9); return err },
		"STORAGE": func() error { _, err := d.Identify("worker-1", "memory", 9); return err },
	} {
		if err := ask(); fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), name+":") {
			t.Errorf("%s changed: %v, want an Invalid error that names it", name, err)
		}
	}
}

func TestRecordsComeBack(t *testing.T) {
	d := open(t, t.TempDir())
	if _, found, err := d.Membership(); err != nil || found {
		t.Fatalf("a new directory has a membership (%v, %v)", found, err)
	}
	if err := d.SaveMembership(membership); err != nil {
		t.Fatal(err)
	}
	got, found, err := d.Membership()
	got.Founding = []byte(strings.Join(strings.Fields(string(got.Founding)), ""))
	if err != nil || !found || cmp.Diff(membership, got) != "" {
		t.Fatalf("Membership: %v, %v, (-want +got)\n%s", found, err, cmp.Diff(membership, got))
	}
	state := outbound.AppliedState{Index: 9, Term: 3, LogTime: 5, Membership: []byte{1, 2}, Machine: []byte(`{"format":1}`)}
	if err := d.SaveMeta(context.Background(), state); err != nil {
		t.Fatal(err)
	}
	meta, err := d.LoadMeta(context.Background())
	meta.Machine = []byte(strings.Join(strings.Fields(string(meta.Machine)), ""))
	if err != nil || cmp.Diff(state, meta) != "" {
		t.Fatalf("LoadMeta: %v (-want +got)\n%s", err, cmp.Diff(state, meta))
	}
	if err := d.ForgetMeta(); err != nil {
		t.Fatal(err)
	}
	if meta, err := d.LoadMeta(context.Background()); err != nil || meta.Index != 0 {
		t.Fatalf("LoadMeta after ForgetMeta=%+v, %v", meta, err)
	}
	if err := d.SaveState([]byte(`{"format":1,"x":2}`)); err != nil {
		t.Fatal(err)
	}
	if encoded, err := d.State(); err != nil || !strings.Contains(string(encoded), `"x": 2`) {
		t.Fatalf("State=%s, %v", encoded, err)
	}
}

func TestRecordsGolden(t *testing.T) {
	d := open(t, t.TempDir())
	if _, err := d.Identify("worker-1", "duckdb", 7); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveMembership(membership); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveMeta(context.Background(), outbound.AppliedState{Index: 9, Term: 3, LogTime: 5, Membership: []byte{1}, Machine: []byte(`{"format":1}`)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{identityFile, membershipFile, metaFile} {
		got, err := os.ReadFile(filepath.Join(d.Path(), name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", "v1."+name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s=\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestRetiringEndsOneLifeAndLetsAnotherBegin(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	fill := func() {
		t.Helper()
		if _, err := d.Identify("worker-1", "duckdb", 7); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(path, LogFolder, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if err := d.Retire(); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Identify("worker-1", "duckdb", 8); err != nil || got.Incarnation != 8 {
		t.Fatalf("after Retire: %+v, %v, want another incarnation", got, err)
	}
	fill()
	// A crash in the middle: the mark stands, some content is left.
	if err := os.WriteFile(filepath.Join(path, retiringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, path)
	if got, err := d.Identify("worker-1", "duckdb", 9); err != nil || got.Incarnation != 9 {
		t.Fatalf("after a crash in Retire: %+v, %v, want another incarnation", got, err)
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, c := range map[string]struct{ file, content, code string }{
		"foreign file":  {"photos.txt", "x", "data_dir_foreign"},
		"lost identity": {LogFolder, "x", "data_dir_foreign"},
		"not JSON":      {identityFile, "{", "record_damaged"},
		"empty record":  {identityFile, `{"format":1}`, "record_damaged"},
		"newer format":  {identityFile, `{"format":2,"node_id":"a"}`, "format_unknown"},
	} {
		d := open(t, t.TempDir())
		if err := os.WriteFile(filepath.Join(d.Path(), c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Identify("worker-1", "duckdb", 7); fault.From(err) == nil || fault.From(err).Code() != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	d := open(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(d.Path(), membershipFile), []byte(`{"format":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Membership(); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("an empty membership: %v, want Corrupt", err)
	}
}
