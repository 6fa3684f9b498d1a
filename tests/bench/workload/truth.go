package workload

import (
	"slices"
	"time"
)

// samplesAnHour is how many samples of a series an hour has.
const samplesAnHour = int(time.Hour / Interval)

// digest is what is known of a series, or of some time of it, in exact arithmetic of hundredths.
type digest struct{ count, sum, least, greatest, last int }

func digestOf(values []int) digest {
	d := digest{count: len(values), least: values[0], greatest: values[0], last: values[len(values)-1]}
	for _, v := range values {
		d.sum += v
		d.least, d.greatest = min(d.least, v), max(d.greatest, v)
	}
	return d
}

func (d digest) average() float64 { return float64(d.sum) / 100 / float64(d.count) }

// number returns hundredths as the nearest float64, which is what a reader of its two decimals gets.
func number(hundredths int) float64 { return float64(hundredths) / 100 }

// truth is what is known of one field over all hosts.
type truth struct {
	hosts []digest
	hours [][]digest        // of each host: of each hour
	found [valueMax + 1]int // how often each value occurs
}

func (s Shape) truth(field int) *truth {
	t := &truth{}
	for host := range s.Hosts {
		values := s.values(host, field)
		t.hosts = append(t.hosts, digestOf(values))
		var hours []digest
		for hour := range slices.Chunk(values, samplesAnHour) {
			hours = append(hours, digestOf(hour))
		}
		t.hours = append(t.hours, hours)
		for _, v := range values {
			t.found[v]++
		}
	}
	return t
}

// hour returns the digest of an hour over all hosts.
func (t *truth) hour(i int) digest {
	d := t.hours[0][i]
	for _, hours := range t.hours[1:] {
		d.count += hours[i].count
		d.sum += hours[i].sum
	}
	return d
}

// above returns how many values are greater than a bound.
func (t *truth) above(bound int) (count int) {
	for _, n := range t.found[bound+1:] {
		count += n
	}
	return count
}

// percentile returns the ⌈percent/100·n⌉-th least of the n values.
func (t *truth) percentile(percent int) float64 {
	total := t.above(-1)
	rank := (total*percent + 99) / 100
	for v, n := range t.found {
		if rank -= n; rank <= 0 {
			return number(v)
		}
	}
	return number(valueMax)
}

// greatest returns the greatest values of n hosts, descending.
func (t *truth) greatest(n int) []float64 {
	var all []float64
	for _, d := range t.hosts {
		all = append(all, number(d.greatest))
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all[:min(n, len(all))]
}
