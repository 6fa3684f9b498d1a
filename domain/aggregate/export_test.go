package aggregate

// LeaveSamples lets folds of b read n more samples.
func LeaveSamples(b *Builder, n int64) { b.left = n }

// LeaveRoom lets details of b hold n more numbers.
func LeaveRoom(b *Builder, n int) { b.room = n }

// Finish is the end of a search that took one round: exact quantiles, which take more, are ErrNoDetail here.
func Finish(q Query, t Table, functions []Function, fill Fill) (Answer, error) {
	f := newFinisher(Question{Query: q, Functions: functions, Fill: fill})
	return f.finish(t, t)
}
