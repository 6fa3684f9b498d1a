package lineprotocol

import "slices"

// skip counts a string field and keeps the first few names.
func (d *Decoder) skip(name string) {
	d.skipped.Fields++
	if len(d.skipped.Names) < SkippedNamesMax && !slices.Contains(d.skipped.Names, name) {
		d.skipped.Names = append(d.skipped.Names, name)
	}
}
