package aggregate

// LeaveSamples lets folds of b read n more samples.
func LeaveSamples(b *Builder, n int64) { b.left = n }

// LeaveRoom lets details of b hold n more numbers.
func LeaveRoom(b *Builder, n int) { b.room = n }
