package lineprotocol

import (
	"errors"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// plain is a sample as the reference reads it.
type plain struct {
	series string
	value  float64
	at     metric.Timestamp
	timed  bool
}

// reference reads a batch slowly: escapes become characters that nothing else uses, so that everything can be
// split where it looks as if it could. It stops at the first bad line and returns its number.
type reference struct {
	samples []plain
	skipped int
	line    int // where the point at hand begins
	inner   int // line ends in its strings
}

const escapedSigns = "\ue000\ue001\ue002"

var (
	errReference  = errors.New("bad")
	protector     = strings.NewReplacer(`\,`, "\ue000", `\ `, "\ue001", `\=`, "\ue002")
	inTags        = strings.NewReplacer("\ue000", ",", "\ue001", " ", "\ue002", "=")
	inMeasurement = strings.NewReplacer("\ue000", ",", "\ue001", " ", "\ue002", `\=`)
	quoted        = regexp.MustCompile(`^"(?:[^"\\]|\\(?s:.))*"`)
	decimalWord   = regexp.MustCompile(`^[-+0-9.eE]+$`)
	wholeWord     = regexp.MustCompile(`^-?[0-9]{1,19}$`)
)

func (r *reference) read(body string, o Options) error {
	rest := protector.Replace(body)
	for r.line = 1; rest != ""; r.line++ {
		s := strings.TrimLeft(rest, " \t")
		var err error
		if strings.HasPrefix(s, "#") {
			_, s, _ = strings.Cut(s, "\n")
			rest = s
			continue
		}
		r.inner = 0
		if s != "" && s[0] != '\n' && s[0] != '\r' {
			if s, err = r.point(s, o); err != nil {
				return err
			}
		}
		s = strings.TrimPrefix(s, "\r")
		if s != "" && s[0] != '\n' {
			return errReference
		}
		rest = strings.TrimPrefix(s, "\n")
		r.line += r.inner
	}
	return nil
}

func (r *reference) point(s string, o Options) (string, error) {
	head, rest, found := strings.Cut(s, " ")
	if !found || strings.Contains(head, "\n") {
		return "", errReference
	}
	parts := strings.Split(head, ",")
	var list []metric.Tag
	for _, part := range parts[1:] {
		pair := strings.Split(part, "=")
		if len(pair) != 2 {
			return "", errReference
		}
		list = append(list, metric.Tag{Key: inTags.Replace(pair[0]), Value: inTags.Replace(pair[1])})
	}
	tags, err := metric.NewTags(list)
	if err != nil || parts[0] == "" {
		return "", errReference
	}
	from := len(r.samples)
	for rest = "," + strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, ","); {
		if rest, err = r.field(inMeasurement.Replace(parts[0]), tags, rest[1:], o); err != nil {
			return "", err
		}
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest == "" || rest[0] == '\n' || rest[0] == '\r' {
		return rest, nil
	}
	word, rest := cut(rest, " \t\r\n")
	at, err := referenceTime(word, o.Precision)
	for i := range r.samples[from:] {
		r.samples[from+i].at, r.samples[from+i].timed = at, true
	}
	return strings.TrimLeft(rest, " \t"), err
}

func (r *reference) field(measurement string, tags metric.Tags, s string, o Options) (string, error) {
	end := strings.IndexAny(s, "=, \n")
	if end <= 0 || s[end] != '=' {
		return "", errReference
	}
	key, s := inTags.Replace(s[:end]), s[end+1:]
	if text := quoted.FindString(s); text != "" {
		if o.RefuseStrings {
			return "", errReference
		}
		r.inner += strings.Count(text, "\n")
		r.skipped++
		if s = s[len(text):]; s != "" && !strings.Contains(", \t\r\n", s[:1]) {
			return "", errReference
		}
		return s, nil
	}
	word, rest := cut(s, ", \t\r\n")
	value, err := referenceValue(word)
	if err != nil {
		return "", err
	}
	if key != "value" {
		measurement += "_" + key
	}
	name, err := metric.NewName(measurement)
	if err != nil {
		return "", err
	}
	series, err := metric.NewSeries(name, tags)
	if err != nil {
		return "", err
	}
	r.samples = append(r.samples, plain{series: series.Key(), value: value})
	return rest, nil
}

func referenceValue(word string) (float64, error) {
	switch word {
	case "t", "T", "true", "True", "TRUE":
		return 1, nil
	case "f", "F", "false", "False", "FALSE":
		return 0, nil
	}
	if digits, whole := strings.CutSuffix(word, "i"); whole {
		v, err := strconv.ParseInt(digits, 10, 64)
		return float64(v), err
	}
	if digits, whole := strings.CutSuffix(word, "u"); whole {
		v, err := strconv.ParseUint(digits, 10, 64)
		return float64(v), err
	}
	if !decimalWord.MatchString(word) {
		return 0, errReference
	}
	return strconv.ParseFloat(word, 64)
}

func referenceTime(word string, p Precision) (metric.Timestamp, error) {
	if !wholeWord.MatchString(word) {
		return 0, errReference
	}
	nanos := [...]int64{1, 1e3, 1e6, 1e9, 60e9, 3600e9}[p]
	units, _ := new(big.Int).SetString(word, 10)
	if units.CmpAbs(big.NewInt(math.MaxInt64)) > 0 {
		return 0, errReference
	}
	micros := new(big.Int).Div(units.Mul(units, big.NewInt(nanos)), big.NewInt(1000)) // Euclidean: down
	if !micros.IsInt64() {
		return 0, errReference
	}
	return metric.NewTimestamp(micros.Int64())
}

// cut splits s before the first of chars.
func cut(s, chars string) (word, rest string) {
	end := strings.IndexAny(s, chars)
	if end < 0 {
		return s, ""
	}
	return s[:end], s[end:]
}
