package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// open returns a connection to a closed instance, and the directory that it may use.
func open(t *testing.T) (*engine.Conn, string) {
	t.Helper()
	directory := t.TempDir()
	c, _ := connect(t, directory)
	return c, directory
}

func connect(t *testing.T, directory string) (*engine.Conn, *engine.Instance) {
	t.Helper()
	instance, err := engine.Open(engine.Options{
		Directory: directory, TempDirectory: filepath.Join(t.TempDir(), "temp"),
		TempBytesMax: 64 << 20, MemoryBytesMax: 128 << 20, Threads: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(instance.Close)
	c, err := instance.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, instance
}

func TestClosed(t *testing.T) {
	c, directory := open(t)
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, refused := range []string{
		"SELECT * FROM read_text(" + engine.QuoteText(outside) + ")",
		"SELECT * FROM read_csv(" + engine.QuoteText(outside) + ")",
		"SELECT * FROM glob(" + engine.QuoteText(filepath.Dir(outside)+"/*") + ")",
		"COPY (SELECT 1) TO " + engine.QuoteText(outside+".csv"),
		"ATTACH " + engine.QuoteText(outside+".duckdb"),
		"ATTACH " + engine.QuoteText(directory+"/../x.duckdb"),
		"EXPORT DATABASE " + engine.QuoteText(filepath.Dir(outside)),
		"INSTALL httpfs",
		"LOAD httpfs",
		"SET threads = 1",
		"SET enable_external_access = true",
		"SET lock_configuration = false",
		"RESET allowed_directories",
	} {
		if err := c.Exec(t.Context(), refused); err == nil {
			t.Errorf("%s: done, want refused", refused)
		}
	}
	inside := filepath.Join(directory, "a.duckdb")
	for _, allowed := range []string{
		"ATTACH " + engine.QuoteText(inside) + " AS a (BLOCK_SIZE 65536)",
		"CREATE TABLE a.t(x BIGINT)",
		"CHECKPOINT a",
		"DETACH a",
	} {
		if err := c.Exec(t.Context(), allowed); err != nil {
			t.Errorf("%s: %v", allowed, err)
		}
	}
}

func TestInterrupt(t *testing.T) {
	c, _ := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Query(ctx, "SELECT count(*) FROM range(10000000) a, range(10000000) b", nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err=%v, want %v", err, context.DeadlineExceeded)
	}
	var sum int64
	err = c.Query(t.Context(), "SELECT $1 + $2", []any{int64(40), int64(2)}, func(chunk engine.Chunk) error {
		sum = chunk.Int64s(0)[0]
		return nil
	})
	if err != nil || sum != 42 {
		t.Fatalf("next statement: %d, %v, want 42", sum, err)
	}
}

func TestOutOfMemory(t *testing.T) {
	c, _ := open(t)
	err := c.Query(t.Context(), "SELECT list(i) FROM range(100000000) t(i)", nil, nil)
	var e *engine.Error
	if !errors.As(err, &e) || !e.IsOutOfMemory() || e.IsFatal() {
		t.Fatalf("err=%v, want out of memory, not fatal", err)
	}
	if err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatalf("next statement: %v", err)
	}
}

// TestAppend writes texts of all lengths and several batches, once kept and once dropped.
func TestAppend(t *testing.T) {
	c, directory := open(t)
	ctx := t.Context()
	for _, statement := range []string{
		"ATTACH " + engine.QuoteText(filepath.Join(directory, "a.duckdb")) + " AS a",
		"CREATE TABLE a.t(n BIGINT NOT NULL, f DOUBLE NOT NULL, s VARCHAR NOT NULL, b BLOB NOT NULL)",
	} {
		if err := c.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	rows := 2*engine.RowsMax() + 7
	text := func(i int) string { return strings.Repeat("é'\";--", i%40) }
	for _, keep := range []bool{false, true} {
		a, err := c.Appender("a", "t")
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < rows; {
			b, n := a.Batch(), min(rows-i, engine.RowsMax())
			for row := range n {
				b.Int64s(0)[row], b.Float64s(1)[row] = int64(i+row), float64(i+row)/4
				b.SetText(2, row, text(i+row))
				b.SetText(3, row, "\x00\xff")
			}
			if err := a.Append(ctx, n); err != nil {
				t.Fatal(err)
			}
			i += n
		}
		if err := a.Close(ctx, keep); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err := c.Query(ctx, "SELECT n, f, s, b FROM a.t ORDER BY n", nil, func(chunk engine.Chunk) error {
		for row := range chunk.Rows() {
			n, f, s, b := chunk.Int64s(0)[row], chunk.Float64s(1)[row], chunk.Text(2, row), chunk.Text(3, row)
			if n != int64(seen) || f != float64(seen)/4 || s != text(seen) || b != "\x00\xff" {
				t.Fatalf("row %d: %d %v %q %q", seen, n, f, s, b)
			}
			seen++
		}
		return nil
	})
	if err != nil || seen != rows {
		t.Fatalf("%d rows, %v, want %d", seen, err, rows)
	}
}

// TestStatementsAreKept runs more texts than a connection keeps, twice, and one with wrong arguments.
func TestStatementsAreKept(t *testing.T) {
	c, _ := open(t)
	for i := range 200 {
		got := int64(-1)
		err := c.Query(t.Context(), "SELECT len($1) + "+strings.Repeat("1 + ", i%100)+"0", []any{[]int64{7, 8, 9}}, func(chunk engine.Chunk) error {
			got = chunk.Int64s(0)[0]
			return nil
		})
		if want := int64(3 + i%100); err != nil || got != want {
			t.Fatalf("statement %d: %d, %v, want %d", i, got, err, want)
		}
	}
	if err := c.Query(t.Context(), "SELECT $1", nil, nil); err == nil {
		t.Fatal("a missing argument was taken")
	}
	if err := c.Query(t.Context(), "SELECT $1", []any{struct{}{}}, nil); err == nil {
		t.Fatal("an argument of an unknown type was taken")
	}
}

func TestTransactRollsBack(t *testing.T) {
	c, _ := open(t)
	ctx := t.Context()
	if err := c.Exec(ctx, "CREATE TABLE t(n BIGINT)"); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no")
	err := c.Transact(ctx, func() error {
		if err := c.Exec(ctx, "INSERT INTO t VALUES (1)"); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("err=%v, want %v", err, failure)
	}
	count := int64(-1)
	if err := c.Query(ctx, "SELECT count(*) FROM t", nil, func(chunk engine.Chunk) error {
		count = chunk.Int64s(0)[0]
		return nil
	}); err != nil || count != 0 {
		t.Fatalf("count=%d, %v, want 0", count, err)
	}
}

// TestStatementsSeeNewRows runs the same texts again and again while a table grows by one generation
// of rows at a time, written by two connections in turn: none may answer from what it saw before.
func TestStatementsSeeNewRows(t *testing.T) {
	directory := t.TempDir()
	first, instance := connect(t, directory)
	second, err := instance.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	ctx := t.Context()
	for _, statement := range []string{
		"ATTACH " + engine.QuoteText(filepath.Join(directory, "a.duckdb")) + " AS a",
		"CREATE TABLE a.t(n BIGINT NOT NULL, gen BIGINT NOT NULL)",
		"CHECKPOINT a",
	} {
		if err := first.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	const rows = 1500
	for gen := range int64(30) {
		writer, reader := first, second
		if gen%2 == 1 {
			writer, reader = second, first
		}
		if err := writer.Transact(ctx, func() error {
			checkGenerations(ctx, t, writer, rows, gen)
			return appendGeneration(ctx, writer, rows, gen)
		}); err != nil {
			t.Fatal(err)
		}
		if err := writer.Exec(ctx, "CHECKPOINT a"); err != nil {
			t.Fatal(err)
		}
		if gen%5 == 0 {
			checkGenerations(ctx, t, reader, rows, gen+1)
		}
	}
}

func appendGeneration(ctx context.Context, c *engine.Conn, rows int, gen int64) error {
	a, err := c.Appender("a", "t")
	if err != nil {
		return err
	}
	b := a.Batch()
	for i := range rows {
		b.Int64s(0)[i], b.Int64s(1)[i] = int64(i), gen
	}
	err = a.Append(ctx, rows)
	return errors.Join(err, a.Close(ctx, err == nil))
}

func checkGenerations(ctx context.Context, t *testing.T, c *engine.Conn, rows, generations int64) {
	t.Helper()
	check := func(want int64, text string, args ...any) {
		t.Helper()
		err := c.Query(ctx, text, args, func(chunk engine.Chunk) error {
			if got := chunk.Int64s(0)[0]; got != want {
				t.Errorf("%s %v: %d, want %d", text, args, got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	check(generations*rows, "SELECT count(*) FROM a.t")
	if generations > 0 {
		check(generations-1, "SELECT max(gen) FROM a.t")
		check(generations-1, "SELECT max(gen) FROM a.t WHERE gen <= $1", int64(1000))
	}
	check(generations*rows, "SELECT count(*) FROM a.t WHERE gen <= $1 AND n >= $2", int64(1000), int64(0))
	check(generations*rows, "SELECT count(*) FROM (SELECT n FROM a.t WHERE gen <= $1 UNION ALL SELECT n FROM a.t WHERE n < $2)", int64(1000), int64(0))
	for upTo := range min(generations, 4) {
		check((upTo+1)*rows, "SELECT count(*) FROM a.t WHERE gen <= $1 AND n >= $2", upTo, int64(0))
		check((upTo+1)*rows, "SELECT count(*), max(n) FROM (SELECT n FROM a.t WHERE gen <= $1 UNION ALL SELECT n FROM a.t WHERE n < $2)", upTo, int64(0))
		check(upTo, "SELECT max(gen) FROM a.t WHERE gen <= $1", upTo)
	}
}
