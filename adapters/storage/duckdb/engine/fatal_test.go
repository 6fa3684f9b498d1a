package engine

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// TestFatal shows that after a fatal error everything is refused with it at once.
func TestFatal(t *testing.T) {
	i, err := Open(Options{
		Directory: t.TempDir(), TempDirectory: filepath.Join(t.TempDir(), "temp"),
		TempBytesMax: 1 << 20, MemoryBytesMax: 64 << 20, Threads: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	c, err := i.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(t.Context(), "SELECT 1"); err != nil || i.Fatal() != nil {
		t.Fatalf("before: %v, %v", err, i.Fatal())
	}
	first := i.note(newError(mapping.ErrorTypeFatal, "FATAL Error: fsync failed!"))
	if later := i.note(newError(mapping.ErrorTypeFatal, "FATAL Error: another")); errors.Is(i.Fatal(), later) {
		t.Error("a later fatal error replaced the first")
	}
	if err := c.Exec(t.Context(), "SELECT 1"); !errors.Is(err, first) {
		t.Errorf("Exec: %v, want %v", err, first)
	}
	if err := c.Query(t.Context(), "SELECT 1", nil, nil); !errors.Is(err, first) {
		t.Errorf("Query: %v, want %v", err, first)
	}
	if _, err := c.Appender("memory", "t"); !errors.Is(err, first) {
		t.Errorf("Appender: %v, want %v", err, first)
	}
	if _, err := i.Connect(); !errors.Is(err, first) {
		t.Errorf("Connect: %v, want %v", err, first)
	}
}

func TestErrorClasses(t *testing.T) {
	for _, c := range []struct {
		class                                  mapping.ErrorType
		message                                string
		fatal, detached, interrupted, outOfMem bool
	}{
		{class: mapping.ErrorTypeInvalid, message: "FATAL Error: fsync failed!", fatal: true},
		{
			class: mapping.ErrorTypeConnection, fatal: true,
			message: "Failed: database has been invalidated because of a previous fatal error. The database must be restarted prior to being used again.",
		},
		{class: mapping.ErrorTypeErrorIO, message: `IO Error: Checkpoint failed for database "s0_1". The database has been invalidated. Original error: x`, detached: true},
		{class: mapping.ErrorTypeErrorIO, message: `IO Error: Database "s0_1" has been invalidated because checkpointing failed. Detach and reattach it before using it again.`, detached: true},
		{class: mapping.ErrorTypeInvalid, message: `Binder Error: Catalog "s0_1" does not exist!`, detached: true},
		{class: mapping.ErrorTypeInvalid, message: "INTERRUPT Error: Interrupted!", interrupted: true},
		{class: mapping.ErrorTypeInvalid, message: "Out of Memory Error: could not allocate", outOfMem: true},
		{class: mapping.ErrorTypeInvalid, message: "Parser Error: syntax error"},
	} {
		e := newError(c.class, c.message)
		if e.IsFatal() != c.fatal || e.IsDetached() != c.detached || e.IsInterrupted() != c.interrupted || e.IsOutOfMemory() != c.outOfMem {
			t.Errorf("%s: fatal %v, detached %v, interrupted %v, out of memory %v", c.message, e.IsFatal(), e.IsDetached(), e.IsInterrupted(), e.IsOutOfMemory())
		}
	}
}
