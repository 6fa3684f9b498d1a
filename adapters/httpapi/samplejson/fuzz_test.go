package samplejson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func appendFloat(v float64) []byte { return strconv.AppendFloat(nil, v, 'g', -1, 64) }

// plainSample is what encoding/json decodes into, to compare with.
type plainSample struct {
	MetricName *string           `json:"metric_name"`
	Value      *float64          `json:"value"`
	Timestamp  *string           `json:"timestamp"`
	Tags       map[string]string `json:"tags"`
}

// observation builds the observation that a plain sample stands for.
func (p plainSample) observation() (metric.Observation, bool) {
	if p.MetricName == nil || p.Value == nil {
		return metric.Observation{}, false
	}
	var list []metric.Tag
	for k, v := range p.Tags {
		list = append(list, metric.Tag{Key: k, Value: v})
	}
	tags, err := metric.NewTags(list)
	if err != nil {
		return metric.Observation{}, false
	}
	name, err := metric.NewName(*p.MetricName)
	if err != nil {
		return metric.Observation{}, false
	}
	series, err := metric.NewSeries(name, tags)
	if err != nil {
		return metric.Observation{}, false
	}
	o, err := metric.NewObservation(series, *p.Value)
	if err == nil && p.Timestamp != nil {
		var at metric.Timestamp
		if at, err = metric.ParseTimestamp("timestamp", *p.Timestamp); err == nil {
			o, err = metric.NewObservationAt(series, at, *p.Value)
		}
	}
	return o, err == nil
}

// reference decodes body with encoding/json: ok tells that it takes it as one sample.
func reference(body []byte) (metric.Observation, bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var p plainSample
	if dec.Decode(&p) != nil {
		return metric.Observation{}, false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return metric.Observation{}, false
	}
	return p.observation()
}

// isLenient reports whether body holds one of the things that encoding/json takes and this package
// refuses by design: members given twice or in other case, null in tags, text that is not UTF-8, halves
// of surrogates (both of which encoding/json turns into U+FFFD).
func isLenient(body []byte) bool {
	var loose map[string]json.RawMessage
	if json.Unmarshal(body, &loose) != nil {
		return true
	}
	if strings.Contains(string(body), "\ufffd") || !json.Valid(body) || bytes.Contains(bytes.ToLower(body), []byte(`\ud`)) ||
		!bytes.Equal(bytes.ToValidUTF8(body, nil), body) {
		return true
	}
	for key := range loose {
		switch key {
		case "metric_name", "value", "timestamp", "tags":
		default:
			return true
		}
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	seen := map[string]bool{}
	depth, isKey := 0, false
	for {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
			isKey = true
			continue
		case string:
			if isKey {
				key := strconv.Itoa(depth) + v
				if seen[key] {
					return true
				}
				seen[key] = true
			}
		case nil:
			if depth > 1 {
				return true
			}
		}
		isKey = !isKey
	}
}

func FuzzDecodeAgainstEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`{"metric_name":"cpu","value":1.5,"timestamp":"2024-08-01T12:00:00Z","tags":{"host":"a"}}`,
		`{"metric_name":"\u00e9\ud83d\ude00","value":-1e-7}`, `{"metric_name":"a","value":1,}`,
		`{"metric_name":"a","value":1,"value":2}`, `{"Value":1}`, `{"metric_name":"a","value":1,"tags":{"a":null}}`,
		`{"tags":{"a":"\"}{"},"metric_name":"a","value":123456789012345678901234567890}`, ` [{"metric_name":"a","value":0}]`,
	} {
		f.Add([]byte(seed))
	}
	d := newDecoder(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		d.Reset()
		got, many, err := d.Decode(body)
		want, accepted := reference(body)
		if many {
			return
		}
		switch {
		case err == nil && accepted:
			if text(got[0]) != text(want) && !isLenient(body) {
				t.Fatalf("Decode(%q) = %s, encoding/json says %s", body, text(got[0]), text(want))
			}
		case err == nil:
			// Only the comma behind the last member may make encoding/json refuse it.
			i := bytes.LastIndexByte(body, ',')
			if i < 0 {
				t.Fatalf("Decode(%q) accepts what encoding/json refuses", body)
			}
			plain := append(bytes.Clone(body[:i]), body[i+1:]...)
			if want, accepted = reference(plain); !accepted || text(got[0]) != text(want) {
				t.Fatalf("Decode(%q) accepts what encoding/json refuses", body)
			}
		case accepted && !isLenient(body):
			t.Fatalf("Decode(%q): %v; encoding/json accepts it", body, err)
		}
	})
}

func FuzzNumberAgainstStrconv(f *testing.F) {
	for _, seed := range []string{"0", "-0", "1.5", "9007199254740993", "1e22", "1e23", "123456.789e-5", "0.1e-22", "1e-400", "1e400", "184467440737095516150", "1e0000000000001", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := scanner{data: []byte(body)}
		got, finite, err := s.number()
		if err != nil {
			if json.Valid([]byte(body)) && strings.ContainsAny(body[:1], "-0123456789") {
				t.Fatalf("number(%q): %v, but it is valid", body, err)
			}
			return
		}
		want, wantErr := strconv.ParseFloat(body[:s.pos], 64)
		if !json.Valid([]byte(body[:s.pos])) || finite != (wantErr == nil) || math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("number(%q) = %v, %v; want %v, %v", body, got, finite, want, wantErr)
		}
	})
}

func FuzzTimestampAgainstParseTimestamp(f *testing.F) {
	for _, seed := range []string{
		"2024-08-01T12:00:00Z", "2024-02-29T23:59:59.999999-23:59", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59Z",
		"1900-02-29T00:00:00Z", "2024-08-01T12:00:00,5Z", "2024-08-01T1:00:00Z", "2024-08-01T12:00:60Z", "2024-08-01T12:00:00+24:00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, ok := timestampOf([]byte(body))
		if !ok {
			return
		}
		if want, err := metric.ParseTimestamp("timestamp", body); err != nil || got != want {
			t.Fatalf("timestampOf(%q) = %s, ParseTimestamp says %s, %v", body, got, want, err)
		}
	})
}

func TestTimestampReadsEveryDay(t *testing.T) {
	const microsPerDay = secondsPerDay * microsPerSecond
	for at := metric.TimestampMin; at <= metric.TimestampMax; at += microsPerDay {
		if got, ok := timestampOf([]byte(at.String())); !ok || got != at {
			t.Fatalf("timestampOf(%s) = %s, %v", at, got, ok)
		}
	}
}
