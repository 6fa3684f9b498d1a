package apply

import "time"

// Limits bound what the state machine remembers. They decide outcomes, so every replica of a cluster
// must use the same; zero fields take the defaults below. Times are log time.
type Limits struct {
	// SessionsMax bounds a shard's open sessions.
	SessionsMax int
	// SessionIdleMax is how long a session without a command stays open.
	SessionIdleMax time.Duration
	// SessionUnusedMax is how long a session waits for its first command. Such sessions are left by
	// gateways that never saw the outcome of their registration.
	SessionUnusedMax time.Duration
	// KeysMax bounds the idempotency keys that a home shard remembers.
	KeysMax int
	// KeyAgeMax is how long a key is remembered, from its beginning and again from its finish.
	KeyAgeMax time.Duration
	// IdentitiesMax bounds the identities that a shard remembers to have applied.
	IdentitiesMax int
	// IdentityAgeMax is how long an identity is remembered: longer than its key is open.
	IdentityAgeMax time.Duration
}

// Defaults of Limits.
const (
	SessionsMaxDefault      = 4096
	SessionIdleMaxDefault   = time.Hour
	SessionUnusedMaxDefault = time.Minute
	KeysMaxDefault          = 65_536
	KeyAgeMaxDefault        = time.Hour
	IdentitiesMaxDefault    = 262_144
	IdentityAgeMaxDefault   = 2 * time.Hour
)

// orDefaults returns the limits with zero fields filled.
func (l Limits) orDefaults() Limits {
	setDefault(&l.SessionsMax, SessionsMaxDefault)
	setDefault(&l.SessionIdleMax, SessionIdleMaxDefault)
	setDefault(&l.SessionUnusedMax, SessionUnusedMaxDefault)
	setDefault(&l.KeysMax, KeysMaxDefault)
	setDefault(&l.KeyAgeMax, KeyAgeMaxDefault)
	setDefault(&l.IdentitiesMax, IdentitiesMaxDefault)
	setDefault(&l.IdentityAgeMax, IdentityAgeMaxDefault)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
