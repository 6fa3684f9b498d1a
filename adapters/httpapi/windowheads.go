package httpapi

import (
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// windowHeads writes what stands before the values of a window: its times, which take longer to format than
// most values and are the same from group to group. They are formatted once and then copied from where they
// stand in the answer already.
type windowHeads struct {
	width metric.Timestamp
	slots []windowHead // by start, counted in windows, modulo how many; one pushes out another
	next  int          // the slot after the last used one, which groups mostly go through in order
	last  windowHead   // of the window before
}

// windowHead is where the head of a window stands in the answer: its start from there on, its end at the end.
type windowHead struct {
	start, end        metric.Timestamp
	from, endFrom, to int // to is 0 where there is none
}

// headsOf returns what writes the heads of a. It remembers as many as the longest group has windows, so that
// groups which have the same ones push none out.
func headsOf(a *aggregate.Answer) *windowHeads {
	h := &windowHeads{width: metric.Timestamp(a.Query.Window().Width())}
	if len(a.Groups) > 1 && h.width > 0 {
		most := 0
		for i := range a.Groups {
			most = max(most, len(a.Groups[i].Windows))
		}
		h.slots = make([]windowHead, most)
	}
	return h
}

// append appends the head of w to the answer b, which holds what h has written so far.
func (h *windowHeads) append(b []byte, w *aggregate.WindowValues) []byte {
	slot := h.slot(w.Start)
	if slot != nil && slot.to > 0 && slot.start == w.Start && slot.end == w.End {
		h.last = *slot
		return append(b, b[slot.from:slot.to]...)
	}
	head := windowHead{start: w.Start, end: w.End, from: len(b)}
	b = append(b, `{"start":`...)
	if h.last.to > 0 && h.last.end == w.Start {
		b = append(b, b[h.last.endFrom:h.last.to]...)
	} else {
		b = appendTimestamp(b, w.Start)
	}
	b = append(b, `,"end":`...)
	head.endFrom = len(b)
	b = appendTimestamp(b, w.End)
	head.to = len(b)
	if h.last = head; slot != nil {
		*slot = head
	}
	return b
}

// slot returns where the head of a window that starts at start is remembered, nil for nowhere.
func (h *windowHeads) slot(start metric.Timestamp) *windowHead {
	n := len(h.slots)
	if n == 0 {
		return nil
	}
	at := h.next
	if s := &h.slots[at]; s.to == 0 || s.start != start {
		if at = int(start / h.width % metric.Timestamp(n)); at < 0 { // before 1970
			at += n
		}
	}
	if h.next = at + 1; h.next == n {
		h.next = 0
	}
	return &h.slots[at]
}
