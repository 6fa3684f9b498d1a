package bootstrap

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// byteSize is a number of bytes that is written with a unit.
type byteSize int64

// byteUnits, longest suffix first where one ends another.
var byteUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
	{"", 1},
}

// UnmarshalText reads 512MiB, 1.5GiB, 100MB or plain bytes.
func (b *byteSize) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) || n*u.bytes >= math.MaxInt64 {
			break
		}
		*b = byteSize(n * u.bytes)
		return nil
	}
	return errors.New("not a size")
}

// String writes the size in the largest unit that leaves a whole number.
func (b byteSize) String() string {
	for _, u := range []struct {
		suffix string
		bytes  byteSize
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b >= u.bytes && b%u.bytes == 0 {
			return strconv.FormatInt(int64(b/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
