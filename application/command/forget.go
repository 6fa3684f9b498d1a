package command

import (
	"encoding/binary"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// EncodeDelete makes the frame a Delete of what d names.
//
//	length of the name              uvarint
//	name
//	from, to                        varint each: microseconds, both inclusive
func (f *Frame) EncodeDelete(d outbound.Deletion) {
	f.begin(Delete)
	f.data = appendText(f.data, d.Metric.String())
	f.data = binary.AppendVarint(f.data, int64(d.Range.From()))
	f.data = binary.AppendVarint(f.data, int64(d.Range.To()))
}

// DecodeDelete reads a Delete's body; it keeps nothing of its memory.
func DecodeDelete(body []byte) (outbound.Deletion, error) {
	r := reader{rest: body}
	text := r.text(metric.NameBytesMax)
	from, to := metric.Timestamp(r.varint()), metric.Timestamp(r.varint())
	if r.bad || len(r.rest) != 0 || !validTimestamp(int64(from), 1) || !validTimestamp(int64(to), 1) {
		return outbound.Deletion{}, ErrMalformed
	}
	name, err := metric.NewName(text)
	if err != nil {
		return outbound.Deletion{}, ErrMalformed
	}
	span, err := aggregate.NewRange(&from, &to)
	if err != nil {
		return outbound.Deletion{}, ErrMalformed
	}
	return outbound.Deletion{Metric: name, Range: span}, nil
}

// EncodeRetain returns a command that moves cut-offs, which must be those of a valid policy.
//
//	default                         varint: microseconds
//	rules                           uvarint
//	each: length of the pattern     uvarint
//	      pattern
//	      before                    varint: microseconds
func EncodeRetain(c metric.Cutoffs) []byte {
	d := outside(Retain)
	d = binary.AppendVarint(d, int64(c.Default))
	d = binary.AppendUvarint(d, uint64(len(c.Rules)))
	for _, rule := range c.Rules {
		d = appendText(d, rule.Pattern)
		d = binary.AppendVarint(d, int64(rule.Before))
	}
	return d
}

// DecodeRetain reads a Retain's body; it keeps nothing of its memory.
func DecodeRetain(body []byte) (metric.Cutoffs, error) {
	r := reader{rest: body}
	c := metric.Cutoffs{Default: metric.Timestamp(r.varint())}
	rules := r.uvarint()
	if r.bad || rules > metric.RetentionRulesMax || !validTimestamp(int64(c.Default), 1) {
		return metric.Cutoffs{}, ErrMalformed
	}
	for range rules {
		rule := metric.CutoffRule{Pattern: r.text(metric.NameBytesMax), Before: metric.Timestamp(r.varint())}
		if !validTimestamp(int64(rule.Before), 1) {
			r.bad = true
		}
		c.Rules = append(c.Rules, rule)
	}
	if r.bad || len(r.rest) != 0 {
		return metric.Cutoffs{}, ErrMalformed
	}
	return c, nil
}

func appendText(d []byte, text string) []byte {
	d = binary.AppendUvarint(d, uint64(len(text)))
	return append(d, text...)
}

// text reads a text of 1 to bytesMax bytes and copies it.
func (r *reader) text(bytesMax uint64) string {
	n := r.uvarint()
	if n == 0 || n > bytesMax {
		r.bad = true
		return ""
	}
	return string(r.take(int(n)))
}
