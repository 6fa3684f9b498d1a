package engine

import (
	"context"
	"fmt"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Appender writes rows to one table in bulk, column by column, in the transaction of its connection.
// Close must be called, and Close alone makes the rows part of the transaction.
type Appender struct {
	conn     *Conn
	appender mapping.Appender
	chunk    mapping.DataChunk
	types    []mapping.LogicalType
}

// RowsMax is how many rows a batch holds.
func RowsMax() int { return int(mapping.VectorSize()) }

// Appender starts to append to a table of an attached database.
func (c *Conn) Appender(catalog, table string) (*Appender, error) {
	if err := c.instance.Fatal(); err != nil {
		return nil, err
	}
	a := &Appender{conn: c}
	if mapping.AppenderCreateExt(c.conn, catalog, "main", table, &a.appender) == mapping.StateError {
		err := a.failure()
		mapping.AppenderDestroy(&a.appender)
		return nil, fmt.Errorf("append to %s: %w", table, err)
	}
	for i := range mapping.AppenderColumnCount(a.appender) {
		a.types = append(a.types, mapping.AppenderColumnType(a.appender, i))
	}
	a.chunk = mapping.CreateDataChunk(a.types)
	return a, nil
}

// Batch is the next rows to append: set the same number in every column, at most RowsMax.
type Batch struct{ chunk mapping.DataChunk }

// Int64s returns the BIGINT column's room for RowsMax rows.
func (b Batch) Int64s(column int) []int64 { return data[int64](b.chunk, column, RowsMax()) }

// Float64s returns the DOUBLE column's room for RowsMax rows.
func (b Batch) Float64s(column int) []float64 { return data[float64](b.chunk, column, RowsMax()) }

// SetText sets one value of a VARCHAR or BLOB column.
func (b Batch) SetText(column, row int, text string) {
	mapping.VectorAssignStringElement(mapping.DataChunkGetVector(b.chunk, mapping.IdxT(column)), mapping.IdxT(row), text)
}

// Batch returns the room for the next rows. It is valid until Append.
func (a *Appender) Batch() Batch { return Batch{chunk: a.chunk} }

// Append appends the first rows of the batch.
func (a *Appender) Append(ctx context.Context, rows int) error {
	if rows == 0 {
		return nil
	}
	err := a.conn.guard(ctx, func() error {
		mapping.DataChunkSetSize(a.chunk, mapping.IdxT(rows))
		if mapping.AppendDataChunk(a.appender, a.chunk) == mapping.StateError {
			return a.failure()
		}
		return nil
	})
	mapping.DataChunkReset(a.chunk)
	return err
}

// Close writes what was appended when keep is set, else drops it.
func (a *Appender) Close(ctx context.Context, keep bool) error {
	var err error
	if keep {
		err = a.conn.guard(ctx, func() error {
			if mapping.AppenderFlush(a.appender) == mapping.StateError {
				return a.failure()
			}
			return nil
		})
	}
	if !keep || err != nil {
		mapping.AppenderClear(a.appender)
	}
	mapping.AppenderDestroy(&a.appender)
	mapping.DestroyDataChunk(&a.chunk)
	for i := range a.types {
		mapping.DestroyLogicalType(&a.types[i])
	}
	return err
}

func (a *Appender) failure() error {
	data := mapping.AppenderErrorData(a.appender)
	defer mapping.DestroyErrorData(&data)
	return a.conn.instance.note(newError(mapping.ErrorDataErrorType(data), mapping.ErrorDataMessage(data)))
}
