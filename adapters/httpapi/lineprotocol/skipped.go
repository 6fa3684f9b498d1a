package lineprotocol

import "slices"

// skip counts string fields by the metrics they would belong to, and keeps the first few of these.
func (d *Decoder) skip(names []string) {
	d.skipped.Fields += len(names)
	for _, name := range names {
		if len(d.skipped.Names) < SkippedNamesMax && !slices.Contains(d.skipped.Names, name) {
			d.skipped.Names = append(d.skipped.Names, name)
		}
	}
}
