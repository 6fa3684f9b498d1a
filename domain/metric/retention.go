package metric

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// RetentionRulesMax bounds the rules of a policy.
const RetentionRulesMax = 100

// RetentionRule says how long samples of the metrics that Pattern names are kept.
type RetentionRule struct {
	// Pattern is a metric's name in which * stands for any text and ? for one character.
	Pattern string
	Keep    time.Duration // whole hours; 0: for good
}

// RetentionPolicy says how long samples are kept: the first rule whose pattern matches the metric's
// name decides, else Default. The zero policy keeps everything.
type RetentionPolicy struct {
	Default time.Duration // whole hours; 0: for good
	Rules   []RetentionRule
}

const retentionForm = "a whole number of hours, days or weeks at least 1h, such as 30d, or 0 to keep everything; rules for metrics behind it, such as 30d,debug_*=7d"

// ParseRetentionPolicy reads a policy such as "30d,debug_*=7d"; the empty text keeps everything. field
// names it in errors.
func ParseRetentionPolicy(field, text string) (RetentionPolicy, error) {
	var p RetentionPolicy
	if text == "" {
		return p, nil
	}
	for i, part := range strings.Split(text, ",") {
		pattern, keepText, isRule := cutLast(strings.TrimSpace(part), '=')
		if isRule == (i == 0) {
			return RetentionPolicy{}, fault.Field(field, "is "+strconv.Quote(text), retentionForm)
		}
		if !isRule {
			keepText = pattern
		}
		keep, err := parseKeep(keepText)
		if err != nil {
			return RetentionPolicy{}, fault.Field(field, "is "+strconv.Quote(text), retentionForm)
		}
		if !isRule {
			p.Default = keep
			continue
		}
		p.Rules = append(p.Rules, RetentionRule{Pattern: pattern, Keep: keep})
	}
	return p, p.Check(field)
}

func cutLast(text string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

func parseKeep(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	for suffix, unit := range map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if digits, ok := strings.CutSuffix(text, suffix); ok {
			n, err := strconv.ParseUint(digits, 10, 32)
			if err != nil || n == 0 || n > uint64(retentionMax/unit) {
				break
			}
			return time.Duration(n) * unit, nil
		}
	}
	return 0, fault.Field("keep", "is "+strconv.Quote(text), retentionForm)
}

// retentionMax keeps the arithmetic of cut-offs inside time.Duration: 100 years.
const retentionMax = 36525 * 24 * time.Hour

// Check refuses a policy that is not what ParseRetentionPolicy could return.
func (p RetentionPolicy) Check(field string) error {
	if len(p.Rules) > RetentionRulesMax {
		return fault.Field(field, "has "+strconv.Itoa(len(p.Rules))+" rules", "at most "+strconv.Itoa(RetentionRulesMax))
	}
	keeps := []time.Duration{p.Default}
	for _, r := range p.Rules {
		if _, err := path.Match(escapePattern(r.Pattern), ""); err != nil || r.Pattern == "" || len(r.Pattern) > NameBytesMax {
			return fault.Field(field, "has the pattern "+strconv.Quote(r.Pattern), "a metric's name with * and ? as wildcards")
		}
		keeps = append(keeps, r.Keep)
	}
	for _, keep := range keeps {
		if keep < 0 || keep%time.Hour != 0 || keep > retentionMax {
			return fault.Field(field, "keeps for "+keep.String(), "whole hours, at most 100 years, or 0 for good")
		}
	}
	return nil
}

// Cutoffs returns the cut-offs that the policy gives at now: whole hours, so that hours go as a whole.
func (p RetentionPolicy) Cutoffs(now Timestamp) Cutoffs {
	c := Cutoffs{Default: cutoffOf(now, p.Default)}
	for _, r := range p.Rules {
		c.Rules = append(c.Rules, CutoffRule{Pattern: r.Pattern, Before: cutoffOf(now, r.Keep)})
	}
	return c
}

func cutoffOf(now Timestamp, keep time.Duration) Timestamp {
	if keep == 0 {
		return TimestampMin
	}
	const hour = Timestamp(3600_000_000)
	at := now - Timestamp(keep.Microseconds())
	offset := at % hour
	if offset < 0 {
		offset += hour
	}
	return max(TimestampMin, at-offset)
}

// CutoffRule is the cut-off of the metrics that Pattern names.
type CutoffRule struct {
	Pattern string
	Before  Timestamp // TimestampMin: none
}

// Cutoffs say, for every metric, before when samples are forgotten: the first rule whose pattern
// matches decides, else Default. The zero Cutoffs are not valid: use RetentionPolicy.Cutoffs.
type Cutoffs struct {
	Default Timestamp // TimestampMin: none
	Rules   []CutoffRule
}

// Of returns the cut-off of the metric name; samples at it are kept.
func (c Cutoffs) Of(name Name) Timestamp {
	for _, r := range c.Rules {
		if matchPattern(r.Pattern, name.text) {
			return r.Before
		}
	}
	return c.Default
}

// matchPattern reports whether text is what pattern describes.
func matchPattern(pattern, text string) bool {
	// path.Match keeps * from crossing slashes, which are characters like others here.
	ok, err := path.Match(escapePattern(strings.ReplaceAll(pattern, "/", "\x00")), strings.ReplaceAll(text, "/", "\x00"))
	return ok && err == nil
}

// escapePattern makes all but * and ? plain to path.Match.
func escapePattern(pattern string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`).Replace(pattern)
}
