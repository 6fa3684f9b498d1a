package multiraft

import (
	"context"
	"fmt"
	"sync"
)

// logWriter merges the writes of all groups that became ready together into one durable write of the
// log. Answers go back in the order in which the writes came.
type logWriter struct {
	node *Node
	wake chan struct{}

	writing sync.Mutex // held while a write is made, or a group's part in it
	mu      struct {
		sync.Mutex
		items []logItem
	}
}

type logItem struct {
	group  *group
	append *Append
}

func (l *logWriter) init(n *Node) {
	l.node = n
	l.wake = make(chan struct{}, 1)
}

// add takes a group's writes. What waits here is bounded by what the cores allow under way.
func (l *logWriter) add(g *group, appends []*Append) {
	l.mu.Lock()
	for _, a := range appends {
		l.mu.items = append(l.mu.items, logItem{group: g, append: a})
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *logWriter) run(ctx context.Context) {
	var items []logItem
	var writes []LogWrite
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		l.mu.Lock()
		items, l.mu.items = l.mu.items, items[:0]
		l.mu.Unlock()
		for rest := items; len(rest) > 0; {
			var n int
			var err error
			n, writes, err = l.writeFirst(rest, writes[:0])
			if err != nil {
				l.node.fail(err)
				return
			}
			for _, i := range rest[:n] {
				i.group.post(Appended{Append: i.append})
			}
			rest = rest[n:]
		}
		clear(items)
		clear(writes[:cap(writes)])
	}
}

// writeFirst makes one durable write of the first items, and says how many those are.
func (l *logWriter) writeFirst(items []logItem, writes []LogWrite) (int, []LogWrite, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	n, writes := l.merge(items, writes)
	return n, writes, l.write(writes)
}

// writeNow makes a durable write beside those of the cores.
func (l *logWriter) writeNow(writes []LogWrite, what string) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if len(writes) == 0 {
		return nil
	}
	if err := l.node.cfg.Log.Write(writes); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// merge collects the writes of the first items that fit in one batch, and says how many items
// those are. A group that was removed meanwhile writes no more.
func (l *logWriter) merge(items []logItem, writes []LogWrite) (n int, _ []LogWrite) {
	bytes := 0
	for ; n < len(items); n++ {
		w := &items[n].append.Write
		for _, e := range w.Entries {
			bytes += len(e.GetData())
		}
		if n > 0 && bytes > l.node.cfg.LogBatchBytesMax {
			break
		}
		if !w.IsEmpty() && !items[n].group.closed.Load() {
			writes = append(writes, *w)
		}
	}
	return n, writes
}

func (l *logWriter) write(writes []LogWrite) error {
	if len(writes) == 0 {
		return nil
	}
	clock := l.node.cfg.Clock
	start := clock.Monotonic()
	if err := l.node.cfg.Log.Write(writes); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	took := clock.Monotonic() - start
	entries, bytes := 0, 0
	for i := range writes {
		entries += len(writes[i].Entries)
		for _, e := range writes[i].Entries {
			bytes += len(e.GetData())
		}
	}
	l.node.cfg.Observer.LogWritten(len(writes), entries, bytes, took)
	return nil
}
