package command

import "encoding/binary"

// Compactor tells series by number in writes of gateways that did not know them. The zero Compactor is
// ready for use, by one goroutine at a time.
type Compactor struct {
	decoder Decoder
	numbers []uint32
}

// Compact returns data or, where that is a Write that tells series by keys which number knows, a new
// command that tells them by number and is otherwise the same. number sets, for each of keys, what
// outbound.SeriesNumberer.NumberSeries does. What cannot be read is left to who applies it.
func (c *Compactor) Compact(data []byte, number func(keys []string, numbers []uint32)) []byte {
	h, body, err := DecodeHeader(data)
	if err != nil || h.Kind != Write || h.Version == 1 {
		return data
	}
	r := reader{rest: body}
	r.flags()
	tableAt := len(data) - len(r.rest)
	c.decoder.table(&r)
	if r.bad {
		return data
	}
	keys, told := c.decoder.columns.Keys, c.decoder.columns.Numbers
	defer clear(keys)
	c.numbers = resize(c.numbers, len(keys))
	number(keys, c.numbers)
	found := false
	for i := range keys {
		if told != nil && told[i] > 0 {
			c.numbers[i] = told[i]
			continue
		}
		found = found || c.numbers[i] > 0
	}
	if !found {
		return data
	}
	compact := make([]byte, 0, len(data)+binary.MaxVarintLen32*len(keys))
	compact = append(compact, data[:tableAt]...)
	compact = appendTable(compact, keys, c.numbers)
	return append(compact, r.rest...)
}
