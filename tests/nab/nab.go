// Package nab reads the real cloud metrics under tests/testdata/nab by means of its own, so that what the
// server answers about them can be checked.
package nab

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Point is one line of a file.
type Point struct {
	At    time.Time
	Value float64
}

// Series is one file: the metric and the instance come from its name.
type Series struct {
	Metric   string
	Instance string
	Points   []Point
}

// Load reads every file of folder, in the order of their names.
func Load(folder string) ([]Series, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.csv"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no CSV files in %s", folder)
	}
	all := make([]Series, 0, len(files))
	for _, name := range files {
		s, err := read(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func read(name string) (Series, error) {
	base := strings.TrimSuffix(filepath.Base(name), ".csv")
	cut := strings.LastIndexByte(base, '_')
	if cut < 0 {
		return Series{}, fmt.Errorf("no instance in the name %s", base)
	}
	s := Series{Metric: base[:cut], Instance: base[cut+1:]}
	content, err := os.ReadFile(name)
	if err != nil {
		return Series{}, err
	}
	rows, err := csv.NewReader(strings.NewReader(string(content))).ReadAll()
	if err != nil {
		return Series{}, err
	}
	for _, row := range rows[1:] {
		at, err := time.Parse(time.DateTime, row[0])
		if err != nil {
			return Series{}, err
		}
		value, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return Series{}, err
		}
		s.Points = append(s.Points, Point{At: at, Value: value})
	}
	return s, nil
}

// Batches writes the series as bodies of POST /metrics, each a JSON array of up to size samples.
func (s Series) Batches(size int) []string {
	var bodies []string
	for points := s.Points; len(points) > 0; {
		n := min(size, len(points))
		var b strings.Builder
		for i, p := range points[:n] {
			separator := ",\n"
			if i == 0 {
				separator = "["
			}
			fmt.Fprintf(&b, `%s{"metric_name":%q,"timestamp":%q,"value":%s,"tags":{"instance":%q}}`,
				separator, s.Metric, p.At.Format(time.RFC3339), strconv.FormatFloat(p.Value, 'g', -1, 64), s.Instance)
		}
		bodies = append(bodies, b.String()+"]")
		points = points[n:]
	}
	return bodies
}
