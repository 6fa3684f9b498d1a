package engine

import (
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Error is what DuckDB answered instead of a result.
type Error struct {
	class   mapping.ErrorType
	message string
}

// classPrefixes tell the class of errors that come as text alone.
var classPrefixes = []struct {
	prefix string
	class  mapping.ErrorType
}{
	{"FATAL Error", mapping.ErrorTypeFatal},
	{"INTERNAL Error", mapping.ErrorTypeInternal},
	{"INTERRUPT Error", mapping.ErrorTypeInterrupt},
	{"IO Error", mapping.ErrorTypeErrorIO},
	{"Out of Memory Error", mapping.ErrorTypeOutOfMemory},
	{"Serialization Error", mapping.ErrorTypeSerialization},
	{"Permission Error", mapping.ErrorTypePermission},
}

func newError(class mapping.ErrorType, message string) *Error {
	for _, c := range classPrefixes {
		if class == mapping.ErrorTypeInvalid && strings.HasPrefix(message, c.prefix) {
			class = c.class
		}
	}
	return &Error{class: class, message: message}
}

// Error returns DuckDB's message.
func (e *Error) Error() string { return "duckdb: " + e.message }

// IsFatal reports that the instance answers nothing any more.
func (e *Error) IsFatal() bool {
	return e.class == mapping.ErrorTypeFatal || strings.Contains(e.message, "must be restarted")
}

// IsDetached reports that one attached file must be detached, if it still is attached, and attached
// again before it can be used: a checkpoint failed, or attaching it did.
func (e *Error) IsDetached() bool {
	invalidated := strings.Contains(e.message, "The database has been invalidated") || strings.Contains(e.message, "Detach and reattach")
	return !e.IsFatal() && (invalidated || strings.Contains(e.message, "Catalog \"") && strings.Contains(e.message, "does not exist"))
}

// IsInterrupted reports that the statement was stopped on request.
func (e *Error) IsInterrupted() bool { return e.class == mapping.ErrorTypeInterrupt }

// IsOutOfMemory reports that memory_limit and the temporary directory together were too small.
func (e *Error) IsOutOfMemory() bool { return e.class == mapping.ErrorTypeOutOfMemory }
