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
	mu   struct {
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
			n, writes = l.merge(rest, writes[:0])
			if err := l.write(writes); err != nil {
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

// merge collects the writes of the first items that fit in one batch, and says how many items those are.
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
		if !w.IsEmpty() {
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
