package duckdb_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// The variables that make this test's binary the process that is killed.
const (
	writerDirectory    = "RAFTMETRICS_TEST_WRITER_DIRECTORY"
	installerDirectory = "RAFTMETRICS_TEST_INSTALLER_DIRECTORY"
	mergerDirectory    = "RAFTMETRICS_TEST_MERGER_DIRECTORY" // into new files where that pays
	tidierDirectory    = "RAFTMETRICS_TEST_TIDIER_DIRECTORY" // inside the file
)

func TestMain(m *testing.M) {
	for variable, run := range map[string]func(string) error{writerDirectory: write, installerDirectory: installs, mergerDirectory: writeAndMerge, tidierDirectory: writeAndTidy} {
		if directory := os.Getenv(variable); directory != "" {
			fmt.Fprintln(os.Stderr, run(directory))
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// samplesPerFlush is what each index adds, over several batches of the bulk append.
const samplesPerFlush = 5_000

// write goes on from what is stored, flush after flush, and tells each durable index, for ever.
func write(directory string) error {
	ctx := context.Background()
	s, err := duckdb.New(duckdb.Options{Directory: directory, Cluster: "test"})
	if err != nil {
		return err
	}
	state, err := s.Open(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Println(state.Index)
	for index := state.Index + 1; ; index++ {
		// The series grow with the index, so that every flush defines some.
		if err := s.Append(ctx, 0, columns(10+int(index), samplesPerFlush, index)); err != nil {
			return err
		}
		s.Cut(0, outbound.AppliedState{Index: index, Term: 1, Machine: []byte(strconv.FormatUint(index, 10))})
		durable, err := s.Flush(ctx, 0)
		if err != nil {
			return err
		}
		fmt.Println(durable)
	}
}

// TestKilled ends a writing process at random moments, on one directory again and again: what it said
// to be durable is there, and of the rest a flush is there whole or not at all.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := newNode(t, duckdb.Options{})
	for range 12 {
		told := killed(t, writerDirectory, n.options.Directory, 1+random.IntN(4), time.Duration(random.IntN(60_000))*time.Microsecond)
		s := start(t, n)
		state := open(t, s, 0)
		if state.Index < told || string(state.Machine) != machineOf(state.Index) {
			t.Fatalf("state %d with %q, want at least %d", state.Index, state.Machine, told)
		}
		count, sum, err := totals(t, s, 0)
		i := state.Index
		if err != nil || count != i*samplesPerFlush || sum != float64(i*(i+1)/2*samplesPerFlush) {
			t.Fatalf("at %d: count=%d sum=%v, %v", i, count, sum, err)
		}
		stop(t, n)
	}
}

func machineOf(index uint64) string {
	if index == 0 {
		return ""
	}
	return strconv.FormatUint(index, 10)
}

// killed runs the process that variable asks for until it has told lines indexes and then for a while, and returns the last
// index that it told before it was killed.
func killed(t *testing.T, variable, directory string, lines int, later time.Duration) (told uint64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), variable+"="+directory)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if told, err = strconv.ParseUint(scanner.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if seen++; seen == lines {
			time.AfterFunc(later, func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Wait() // It was killed, and says so.
	if seen < lines {
		t.Fatalf("the writer told %d lines, want at least %d", seen, lines)
	}
	return told
}
