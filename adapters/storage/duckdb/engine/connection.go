package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// interruptInterval is how often a running call is interrupted once its context has ended: DuckDB
// forgets an interrupt that comes just before a statement starts.
const interruptInterval = 20 * time.Millisecond

// Conn is one connection. It is for one goroutine at a time.
type Conn struct {
	instance   *Instance
	conn       mapping.Connection
	statements statements
}

// ErrRefused is what a call returns, with the instance's fatal error, that was not even begun because of
// that error.
var ErrRefused = errors.New("the instance failed before")

func (i *Instance) refusal() error {
	if err := i.Fatal(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// Connect opens a connection.
func (i *Instance) Connect() (*Conn, error) {
	if err := i.refusal(); err != nil {
		return nil, err
	}
	c := &Conn{instance: i}
	if mapping.Connect(i.db, &c.conn) == mapping.StateError {
		mapping.Disconnect(&c.conn)
		return nil, newError(mapping.ErrorTypeConnection, "no connection")
	}
	c.statements.init()
	return c, nil
}

// Close ends the connection; a transaction still open is rolled back.
func (c *Conn) Close() {
	c.statements.clear()
	mapping.Disconnect(&c.conn)
}

// guard runs call, interrupting it when ctx ends; the end of ctx then is the error.
func (c *Conn) guard(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.instance.refusal(); err != nil {
		return err
	}
	returned, stopped := make(chan struct{}), make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ticker := time.NewTicker(interruptInterval)
		defer ticker.Stop()
		for {
			select {
			case <-returned:
				return
			default:
			}
			mapping.Interrupt(c.conn)
			select {
			case <-returned:
				return
			case <-ticker.C:
			}
		}
	})
	err := call()
	close(returned)
	if !release() {
		// An interrupt on its way must not hit the connection's next statement.
		<-stopped
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.IsInterrupted() && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Exec runs one statement without parameters or rows.
func (c *Conn) Exec(ctx context.Context, sql string) error {
	return c.guard(ctx, func() error {
		if err := c.instance.injected(sql); err != nil {
			return err
		}
		var result mapping.Result
		defer mapping.DestroyResult(&result)
		if mapping.Query(c.conn, sql, &result) == mapping.StateError {
			return c.instance.note(newError(mapping.ResultErrorType(&result), mapping.ResultError(&result)))
		}
		return nil
	})
}

// Transact runs body between BEGIN and COMMIT, or ROLLBACK when it fails. A commit that has begun is
// not interrupted.
func (c *Conn) Transact(ctx context.Context, body func() error) error {
	return c.TransactAround(ctx, body, func(commit func() error) error { return commit() })
}

// TransactAround is Transact where around, which must call commit once, says what else happens at the
// moment of the commit. Its error is what comes back.
func (c *Conn) TransactAround(ctx context.Context, body func() error, around func(commit func() error) error) error {
	if err := c.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	uncancelled := context.WithoutCancel(ctx)
	if err := body(); err != nil {
		if rollback := c.Exec(uncancelled, "ROLLBACK"); rollback != nil {
			return errors.Join(err, fmt.Errorf("roll back: %w", rollback))
		}
		return err
	}
	return around(func() error {
		if err := c.Exec(uncancelled, "COMMIT"); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		return nil
	})
}
