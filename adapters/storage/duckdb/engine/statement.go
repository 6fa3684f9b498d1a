package engine

import (
	"container/list"
	"context"
	"fmt"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// statementsMax bounds the prepared statements that a connection keeps.
const statementsMax = 64

// statements keeps prepared statements by text; the one unused for longest goes first.
type statements struct {
	byText map[string]*list.Element
	recent *list.List // of *prepared, the most recently used in front
}

type prepared struct {
	text      string
	statement mapping.PreparedStatement
}

func (s *statements) init() {
	s.byText, s.recent = map[string]*list.Element{}, list.New()
}

func (s *statements) clear() {
	for s.recent.Len() > 0 {
		s.drop(s.recent.Back())
	}
}

func (s *statements) drop(e *list.Element) {
	if p, ok := s.recent.Remove(e).(*prepared); ok {
		delete(s.byText, p.text)
		mapping.DestroyPrepare(&p.statement)
	}
}

// prepare returns a statement and what to do with it after use. One with parameters is kept: DuckDB
// plans it anew with their values at each run, and parsing is saved. One without is planned only
// once, and DuckDB 1.5.6 folds counts and extremes of whole tables into that plan, where they grow
// stale; so it is not kept.
func (c *Conn) prepare(text string) (statement mapping.PreparedStatement, done func(), err error) {
	s := &c.statements
	if e, ok := s.byText[text]; ok {
		s.recent.MoveToFront(e)
		p, _ := e.Value.(*prepared)
		return p.statement, func() {}, nil
	}
	if mapping.Prepare(c.conn, text, &statement) == mapping.StateError {
		message := mapping.PrepareError(statement)
		mapping.DestroyPrepare(&statement)
		return statement, nil, c.instance.note(newError(mapping.ErrorTypeInvalid, message))
	}
	if mapping.NParams(statement) == 0 {
		return statement, func() { mapping.DestroyPrepare(&statement) }, nil
	}
	if s.recent.Len() >= statementsMax {
		s.drop(s.recent.Back())
	}
	s.byText[text] = s.recent.PushFront(&prepared{text: text, statement: statement})
	return statement, func() {}, nil
}

// Query runs the statement text, prepared, with args bound in order (int64, float64,
// string, []byte or []int64 each), and calls use for each piece of the result, which is valid until use
// returns. use may be nil. The error of use ends the query.
func (c *Conn) Query(ctx context.Context, text string, args []any, use func(Chunk) error) error {
	var result mapping.Result
	defer mapping.DestroyResult(&result)
	err := c.guard(ctx, func() error {
		if err := c.instance.injected(text); err != nil {
			return err
		}
		statement, done, err := c.prepare(text)
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		defer done()
		if err := bind(statement, args); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		if mapping.ExecutePrepared(statement, &result) == mapping.StateError {
			return c.instance.note(newError(mapping.ResultErrorType(&result), mapping.ResultError(&result)))
		}
		return nil
	})
	if err != nil || use == nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := nextChunk(result, use)
		if err != nil || !more {
			return err
		}
	}
}

func nextChunk(result mapping.Result, use func(Chunk) error) (more bool, err error) {
	chunk := mapping.FetchChunk(result)
	if chunk.Ptr == nil {
		return false, nil
	}
	defer mapping.DestroyDataChunk(&chunk)
	return true, use(Chunk{chunk: chunk, rows: int(mapping.DataChunkGetSize(chunk))})
}

func bind(statement mapping.PreparedStatement, args []any) error {
	if want := int(mapping.NParams(statement)); want != len(args) {
		return newError(mapping.ErrorTypeParameterNotResolved, fmt.Sprintf("%d parameters, %d given", want, len(args)))
	}
	for i, arg := range args {
		index := mapping.IdxT(i + 1)
		state := mapping.StateError
		switch v := arg.(type) {
		case int64:
			state = mapping.BindInt64(statement, index, v)
		case float64:
			state = mapping.BindDouble(statement, index, v)
		case string:
			state = mapping.BindVarcharLength(statement, index, v, mapping.IdxT(len(v)))
		case []byte:
			state = mapping.BindBlob(statement, index, v)
		case []int64:
			state = bindList(statement, index, v)
		}
		if state == mapping.StateError {
			return newError(mapping.ErrorTypeInvalid, fmt.Sprintf("parameter %d of type %T: %s", i+1, arg, mapping.PrepareError(statement)))
		}
	}
	return nil
}

func bindList(statement mapping.PreparedStatement, index mapping.IdxT, numbers []int64) mapping.State {
	bigint := mapping.CreateLogicalType(mapping.TypeBigInt)
	defer mapping.DestroyLogicalType(&bigint)
	values := make([]mapping.Value, len(numbers))
	for i, n := range numbers {
		values[i] = mapping.CreateInt64(n)
	}
	defer func() {
		for i := range values {
			mapping.DestroyValue(&values[i])
		}
	}()
	list := mapping.CreateListValue(bigint, values)
	defer mapping.DestroyValue(&list)
	return mapping.BindValue(statement, index, list)
}
