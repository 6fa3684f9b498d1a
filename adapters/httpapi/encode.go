package httpapi

import (
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// answerBytes is room for most short answers.
const answerBytes = 256

// appendSample appends a sample; tags only when it has any.
func appendSample(b []byte, s metric.Sample) []byte {
	b = append(b, `{"metric_name":`...)
	b = appendText(b, s.Series().Name().String())
	b = append(b, `,"value":`...)
	b = appendNumber(b, s.Value())
	b = append(b, `,"timestamp":`...)
	b = appendTimestamp(b, s.Timestamp())
	if tags := s.Series().Tags(); tags.Len() > 0 {
		b = append(b, `,"tags":`...)
		b = appendTags(b, tags.All())
	}
	return append(b, '}')
}

// appendTimestamp appends what holds nothing to escape.
func appendTimestamp(b []byte, at metric.Timestamp) []byte {
	b = append(b, '"')
	b, _ = at.AppendText(b) // never fails
	return append(b, '"')
}

func appendTags(b []byte, tags []metric.Tag) []byte {
	b = append(b, '{')
	for i, t := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, t.Key)
		b = append(b, ':')
		b = appendText(b, t.Value)
	}
	return append(b, '}')
}

// roomFor returns about how many bytes an answer takes.
func roomFor(a aggregate.Answer) int {
	const (
		windowBytes = len(`{"start":"2006-01-02T15:04:05Z","end":"2006-01-02T15:04:05Z","aggregations":{}},`)
		valueBytes  = len(`"count":12.123456789012345,`)
	)
	bytes := answerBytes
	for _, g := range a.Groups {
		bytes += answerBytes/4 + len(g.Values)*valueBytes
		if len(g.Windows) > 0 {
			bytes += len(g.Windows) * (windowBytes + len(g.Windows[0].Values)*valueBytes)
		}
	}
	return bytes
}

// appendAnswer appends the answer to an aggregate question, in one of four shapes: with window or
// without, with group_by or without.
func appendAnswer(b []byte, a aggregate.Answer) []byte {
	var heads *windowHeads
	b = append(b, `{"metric":`...)
	b = appendText(b, a.Query.Metric().String())
	if !a.Query.Window().IsZero() {
		heads = headsOf(&a)
		b = append(b, `,"window":`...)
		b = appendText(b, a.Query.Window().String())
	}
	if a.RelativeError > 0 {
		b = append(b, `,"approximate":{"relative_error":`...)
		b = append(appendNumber(b, a.RelativeError), '}')
	}
	if len(a.Query.GroupBy()) == 0 {
		for i := range a.Groups { // exactly one
			b = append(b, ',')
			b = appendResult(b, &a.Groups[i], heads)
		}
		return append(b, '}')
	}
	b = append(b, `,"groups":[`...)
	for i := range a.Groups {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"tags":`...)
		b = appendTags(b, a.Groups[i].Tags)
		b = append(b, ',')
		b = appendResult(b, &a.Groups[i], heads)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// appendAnswers appends the answers about several metrics.
func appendAnswers(b []byte, answers []aggregate.Answer) []byte {
	b = append(b, `{"results":[`...)
	for i, a := range answers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendAnswer(b, a)
	}
	return append(b, "]}"...)
}

// appendResult appends the member that holds one group's values; heads are nil without windows.
func appendResult(b []byte, g *aggregate.AnswerGroup, heads *windowHeads) []byte {
	if heads == nil {
		b = append(b, `"aggregations":`...)
		return appendValues(b, g.Values)
	}
	b = append(b, `"windows":[`...)
	for i := range g.Windows {
		if i > 0 {
			b = append(b, ',')
		}
		b = heads.append(b, &g.Windows[i])
		b = append(b, `,"aggregations":`...)
		b = appendValues(b, g.Windows[i].Values)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendValues(b []byte, values []aggregate.Value) []byte {
	b = append(b, '{')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, v.Function.String())
		b = append(b, ':')
		switch {
		case v.Null:
			b = append(b, "null"...)
		case v.Function == aggregate.Count:
			b = strconv.AppendUint(b, uint64(v.Number), 10)
		default:
			b = appendNumber(b, v.Number)
		}
	}
	return append(b, '}')
}

// appendHealth appends a node's condition; impeded_shards only when there are any.
func appendHealth(b []byte, h inbound.Health) []byte {
	b = append(b, `{"status":`...)
	b = appendText(b, string(h.Status))
	b = append(b, `,"message":`...)
	b = appendText(b, h.Message)
	b = append(b, `,"node_id":`...)
	b = appendText(b, h.NodeID)
	b = append(b, `,"role":`...)
	b = appendText(b, h.Role)
	if h.Cluster != "" {
		b = append(b, `,"cluster_id":`...)
		b = appendText(b, h.Cluster)
	}
	b = append(b, `,"shards":`...)
	b = strconv.AppendInt(b, int64(h.Shards), 10)
	b = append(b, `,"under_replicated":`...)
	b = strconv.AppendInt(b, int64(h.UnderReplicated), 10)
	if len(h.Impeded) > 0 {
		b = append(b, `,"impeded_shards":[`...)
		for i, id := range h.Impeded {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(id), 10)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}
