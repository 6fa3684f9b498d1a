package transport_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/tests/dirsink"
)

// shelf offers one snapshot under the manifest "m".
type shelf struct {
	files  []transport.SnapshotFile
	open   func(i int) io.ReadCloser
	opened chan struct{} // when not nil, gets a value at each OpenSnapshot
	closed atomic.Int64
}

func (s *shelf) OpenSnapshot(_ context.Context, id shard.ID, manifest []byte) (transport.OpenedSnapshot, error) {
	if id != 3 || string(manifest) != "m" {
		return nil, fault.New(fault.NotFound, "snapshot_gone", "no such snapshot")
	}
	if s.opened != nil {
		s.opened <- struct{}{}
	}
	return s, nil
}
func (s *shelf) Files() []transport.SnapshotFile   { return s.files }
func (s *shelf) Open(i int) (io.ReadCloser, error) { return s.open(i), nil }
func (s *shelf) Close() error                      { s.closed.Add(1); return nil }

// newShelf makes files of these sizes from a fixed seed.
func newShelf(sizes ...int) (*shelf, [][]byte) {
	var contents [][]byte
	s := &shelf{}
	source := rand.NewChaCha8([32]byte{1})
	for i, n := range sizes {
		content := make([]byte, n)
		_, _ = source.Read(content)
		contents = append(contents, content)
		s.files = append(s.files, transport.SnapshotFile{Name: "file" + strconv.Itoa(i), Bytes: int64(n), SHA256: sha256.Sum256(content)})
	}
	s.open = func(i int) io.ReadCloser { return io.NopCloser(bytes.NewReader(contents[i])) }
	return s, contents
}

// fetcherOf returns a fetcher that reaches a sender of source over loopback.
func fetcherOf(tb testing.TB, source transport.SnapshotSource, bytesPerSecond int64) *transport.SnapshotFetcher {
	tb.Helper()
	sender := transport.NewSnapshotSender(source, bytesPerSecond)
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return transport.NewSnapshotFetcher(func(context.Context, cluster.NodeID) (net.Conn, error) {
		near, far := loopback(tb)
		work.Go(func() { _ = sender.Serve(ctx, far) })
		return near, nil
	})
}

func newDirSink(tb testing.TB, path string) *dirsink.Sink {
	tb.Helper()
	sink, err := dirsink.New(path)
	if err != nil {
		tb.Fatal(err)
	}
	return sink
}

const fast = 1 << 40

func TestSnapshotArrives(t *testing.T) {
	source, contents := newShelf(0, 1, 256<<10, 3*256<<10+1, 5<<20)
	f := fetcherOf(t, source, fast)
	for _, name := range []string{"first", "second"} {
		path := filepath.Join(t.TempDir(), name)
		// What a crash left is no obstacle.
		if err := os.MkdirAll(filepath.Join(path+".partial", "rest"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := f.Fetch(t.Context(), nodeID(t, "b"), 3, []byte("m"), newDirSink(t, path)); err != nil {
			t.Fatal(err)
		}
		for i, want := range contents {
			got, err := os.ReadFile(filepath.Join(path, source.files[i].Name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("file %d: %d bytes, %v; want %d bytes", i, len(got), err, len(want))
			}
		}
		if _, err := os.Stat(path + ".partial"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the partial directory is still there: %v", err)
		}
	}
}

func TestSnapshotFailures(t *testing.T) {
	damaged := func() *shelf {
		s, _ := newShelf(1000)
		s.files[0].SHA256[0] ^= 1
		return s
	}
	short := func() *shelf {
		s, _ := newShelf(1 << 20)
		s.open = func(int) io.ReadCloser { return io.NopCloser(bytes.NewReader(make([]byte, 600_000))) }
		return s
	}
	foreign := func() *shelf {
		s, _ := newShelf(10)
		s.files[0].Name = "../escape"
		return s
	}
	whole := func() *shelf {
		s, _ := newShelf(10)
		return s
	}
	empty := func() *shelf { return &shelf{} }
	for _, c := range []struct {
		name     string
		source   *shelf
		manifest string
		want     fault.Kind
	}{
		{"gone", whole(), "other", fault.NotFound},
		{"digest", damaged(), "m", fault.Corrupt},
		{"file cut short", short(), "m", fault.Internal},
		{"name outside", foreign(), "m", fault.Corrupt},
		{"no files", empty(), "m", fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			err := fetcherOf(t, c.source, fast).Fetch(t.Context(), nodeID(t, "b"), 3, []byte(c.manifest), newDirSink(t, path))
			if err == nil || fault.KindOf(err) != c.want {
				t.Errorf("err=%v, want kind %d", err, c.want)
			}
			for _, p := range []string{path, path + ".partial"} {
				if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is there: %v", filepath.Base(p), err)
				}
			}
		})
	}
}

// discard counts what it takes.
type discard struct{ bytes, commits, aborts atomic.Int64 }

func (d *discard) Create(transport.SnapshotFile) (io.WriteCloser, error) {
	return (*discarding)(d), nil
}
func (d *discard) Commit() error { d.commits.Add(1); return nil }
func (d *discard) Abort() error  { d.aborts.Add(1); return nil }

type discarding discard

func (d *discarding) Write(b []byte) (int, error) {
	d.bytes.Add(int64(len(b)))
	return len(b), nil
}
func (d *discarding) Close() error { return nil }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestSnapshotMemoryIsBounded(t *testing.T) {
	const size = 128 << 20
	digest := sha256.New()
	_, _ = io.CopyN(digest, zeros{}, size)
	source := &shelf{
		files: []transport.SnapshotFile{{Name: "big", Bytes: size, SHA256: [32]byte(digest.Sum(nil))}},
		open:  func(int) io.ReadCloser { return io.NopCloser(zeros{}) },
	}
	f := fetcherOf(t, source, fast)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sink := &discard{}
	if err := f.Fetch(t.Context(), nodeID(t, "b"), 3, []byte("m"), sink); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("moving %d MiB allocated %d MiB in total", size>>20, used>>20)
	}
	if sink.bytes.Load() != size || sink.commits.Load() != 1 || sink.aborts.Load() != 0 {
		t.Errorf("bytes=%d commits=%d aborts=%d", sink.bytes.Load(), sink.commits.Load(), sink.aborts.Load())
	}
}

// bubble returns a fetcher of source over pipes, for the fake clock of a test bubble.
func bubble(tb testing.TB, source transport.SnapshotSource, bytesPerSecond int64) *transport.SnapshotFetcher {
	tb.Helper()
	sender, ctx := transport.NewSnapshotSender(source, bytesPerSecond), tb.Context()
	return transport.NewSnapshotFetcher(func(context.Context, cluster.NodeID) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _ = sender.Serve(ctx, far) }()
		return near, nil
	})
}

func TestSnapshotKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _ := newShelf(10 << 20)
		begin := time.Now()
		if err := bubble(t, source, 1<<20).Fetch(t.Context(), nodeID(t, "b"), 3, []byte("m"), &discard{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("10 MiB at 1 MiB/s took %v", took)
		}
	})
}

func TestStalledSnapshotIsGivenUp(t *testing.T) {
	t.Run("sender", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := transport.NewSnapshotFetcher(func(context.Context, cluster.NodeID) (net.Conn, error) {
				near, far := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, far) }()
				return near, nil
			})
			sink := &discard{}
			begin := time.Now()
			err := f.Fetch(t.Context(), nodeID(t, "b"), 3, []byte("m"), sink)
			if took := time.Since(begin); err == nil || took != transport.SnapshotStallMax || sink.aborts.Load() != 1 {
				t.Errorf("after %v: %v, aborts=%d", took, err, sink.aborts.Load())
			}
		})
	})
	t.Run("receiver", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source, _ := newShelf(10 << 20)
			sender, ctx := transport.NewSnapshotSender(source, fast), t.Context()
			sent := make(chan error, 1)
			f := transport.NewSnapshotFetcher(func(context.Context, cluster.NodeID) (net.Conn, error) {
				near, far := net.Pipe()
				go func() { sent <- sender.Serve(ctx, far) }()
				return near, nil
			})
			sink := &stuck{release: make(chan struct{})}
			var work sync.WaitGroup
			work.Go(func() {
				if err := f.Fetch(t.Context(), nodeID(t, "b"), 3, []byte("m"), sink); err == nil {
					t.Error("a transfer that its sender gave up was taken as complete")
				}
			})
			begin := time.Now()
			err := <-sent
			if took := time.Since(begin); err == nil || took > transport.SnapshotStallMax+2*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			close(sink.release)
			work.Wait()
		})
	})
}

// stuck is a sink whose disk takes nothing until it is released.
type stuck struct {
	discard
	release chan struct{}
}

func (s *stuck) Create(transport.SnapshotFile) (io.WriteCloser, error) { return stuckFile{s}, nil }

type stuckFile struct{ *stuck }

func (s stuckFile) Write(b []byte) (int, error) {
	<-s.release
	return len(b), nil
}
func (s stuckFile) Close() error { return nil }

func TestOneSnapshotAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _ := newShelf(1 << 20)
		source.opened = make(chan struct{}, 2)
		f := bubble(t, source, 1<<18)
		var work sync.WaitGroup
		for range 2 {
			work.Go(func() {
				if err := f.Fetch(t.Context(), nodeID(t, "b"), 3, []byte("m"), &discard{}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(source.opened); n != 1 {
			t.Errorf("%d transfers run beside each other", n)
		}
		work.Wait()
		synctest.Wait()
		if n := source.closed.Load(); n != 2 {
			t.Errorf("%d snapshots were closed, want 2", n)
		}
	})
}

func TestSnapshotEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _ := newShelf(1 << 20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sink := &discard{}
		err := bubble(t, source, 1<<10).Fetch(ctx, nodeID(t, "b"), 3, []byte("m"), sink)
		if !errors.Is(err, context.DeadlineExceeded) || sink.aborts.Load() != 1 {
			t.Errorf("err=%v aborts=%d", err, sink.aborts.Load())
		}
	})
}

func TestSnapshotsSentAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _ := newShelf(1 << 20)
		sender := transport.NewSnapshotSender(source, 1<<10)
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		dial := func(context.Context, cluster.NodeID) (net.Conn, error) {
			near, far := net.Pipe()
			work.Go(func() { _ = sender.Serve(ctx, far) })
			return near, nil
		}
		for range transport.SnapshotsSentMax {
			work.Go(func() {
				_ = transport.NewSnapshotFetcher(dial).Fetch(ctx, nodeID(t, "b"), 3, []byte("m"), &discard{})
			})
		}
		time.Sleep(time.Second)
		err := transport.NewSnapshotFetcher(dial).Fetch(ctx, nodeID(t, "b"), 3, []byte("m"), &discard{})
		if fault.KindOf(err) != fault.Exhausted {
			t.Errorf("err=%v, want exhausted", err)
		}
		cancel()
		work.Wait()
	})
}

func BenchmarkSnapshot(b *testing.B) {
	source, _ := newShelf(16 << 20)
	f := fetcherOf(b, source, fast)
	b.SetBytes(16 << 20)
	for b.Loop() {
		if err := f.Fetch(b.Context(), nodeID(b, "b"), 3, []byte("m"), &discard{}); err != nil {
			b.Fatal(err)
		}
	}
}
