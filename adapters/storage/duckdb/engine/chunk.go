package engine

import (
	"strings"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Chunk is a piece of a result: up to a vector's length of rows, column by column. None of the
// columns that this package's callers read may hold NULL.
type Chunk struct {
	chunk mapping.DataChunk
	rows  int
}

// Rows returns the number of rows.
func (c Chunk) Rows() int { return c.rows }

// Int64s returns a BIGINT column. It is valid as long as the chunk.
func (c Chunk) Int64s(column int) []int64 { return data[int64](c.chunk, column, c.rows) }

// Float64s returns a DOUBLE column. It is valid as long as the chunk.
func (c Chunk) Float64s(column int) []float64 { return data[float64](c.chunk, column, c.rows) }

// Text returns a copy of one value of a VARCHAR or BLOB column.
func (c Chunk) Text(column, row int) string {
	texts := data[mapping.StringT](c.chunk, column, c.rows)
	return strings.Clone(mapping.StringTData(&texts[row]))
}

// data views a column's numbers in DuckDB's memory. The one place for it: going through the driver
// boxes every value.
func data[T any](chunk mapping.DataChunk, column, rows int) []T {
	vector := mapping.DataChunkGetVector(chunk, mapping.IdxT(column))
	return unsafe.Slice((*T)(mapping.VectorGetData(vector)), rows) //nolint:gosec // the column has T's type and rows values
}
