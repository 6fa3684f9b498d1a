package multiraft

import (
	"fmt"

	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3"
)

// quietLogger drops what raft says and keeps its panics, which end the process: raft panics only where
// going on would break a promise.
type quietLogger struct{}

var _ raft.Logger = quietLogger{}

func (quietLogger) Debug(...any)            {}
func (quietLogger) Debugf(string, ...any)   {}
func (quietLogger) Info(...any)             {}
func (quietLogger) Infof(string, ...any)    {}
func (quietLogger) Warning(...any)          {}
func (quietLogger) Warningf(string, ...any) {}
func (quietLogger) Error(...any)            {}
func (quietLogger) Errorf(string, ...any)   {}

func (quietLogger) Fatal(v ...any)                 { panic(fmt.Sprint(v...)) }
func (quietLogger) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (quietLogger) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (quietLogger) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }

// raftLogger passes what raft says to the process's log.
type raftLogger struct{ log zerolog.Logger }

var _ raft.Logger = raftLogger{}

func (l raftLogger) Debug(v ...any)                   { l.log.Trace().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Debugf(format string, v ...any)   { l.log.Trace().Msgf(format, v...) }
func (l raftLogger) Info(v ...any)                    { l.log.Debug().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Infof(format string, v ...any)    { l.log.Debug().Msgf(format, v...) }
func (l raftLogger) Warning(v ...any)                 { l.log.Warn().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Warningf(format string, v ...any) { l.log.Warn().Msgf(format, v...) }
func (l raftLogger) Error(v ...any)                   { l.log.Error().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Errorf(format string, v ...any)   { l.log.Error().Msgf(format, v...) }

func (raftLogger) Fatal(v ...any)                 { quietLogger{}.Fatal(v...) }
func (raftLogger) Fatalf(format string, v ...any) { quietLogger{}.Fatalf(format, v...) }
func (raftLogger) Panic(v ...any)                 { quietLogger{}.Panic(v...) }
func (raftLogger) Panicf(format string, v ...any) { quietLogger{}.Panicf(format, v...) }
