package apply

import "time"

// aging is a map whose entries also stand in the order in which they were last touched. Since log
// time never goes back, those that expire first stand first.
type aging[K comparable, V any] struct {
	byKey  map[K]*aged[K, V]
	oldest *aged[K, V]
	newest *aged[K, V]
}

type aged[K comparable, V any] struct {
	key          K
	value        V
	touched      time.Duration
	older, newer *aged[K, V]
}

func newAging[K comparable, V any]() aging[K, V] {
	return aging[K, V]{byKey: make(map[K]*aged[K, V])}
}

func (a *aging[K, V]) len() int { return len(a.byKey) }

// get returns the entry of key, nil when there is none.
func (a *aging[K, V]) get(key K) *aged[K, V] { return a.byKey[key] }

// add puts a new key at the newest end; now is not before any entry's time.
func (a *aging[K, V]) add(key K, value V, now time.Duration) *aged[K, V] {
	e := &aged[K, V]{key: key, value: value}
	a.byKey[key] = e
	a.push(e, now)
	return e
}

// touch moves e to the newest end.
func (a *aging[K, V]) touch(e *aged[K, V], now time.Duration) {
	if e == a.newest {
		e.touched = now
		return
	}
	a.unlink(e)
	a.push(e, now)
}

func (a *aging[K, V]) remove(e *aged[K, V]) {
	delete(a.byKey, e.key)
	a.unlink(e)
}

// expire removes, oldest first, the entries last touched at or before limit and tells gone of each.
func (a *aging[K, V]) expire(limit time.Duration, gone func(K)) {
	for a.oldest != nil && a.oldest.touched <= limit {
		e := a.oldest
		a.remove(e)
		if gone != nil {
			gone(e.key)
		}
	}
}

func (a *aging[K, V]) push(e *aged[K, V], now time.Duration) {
	e.touched, e.older, e.newer = now, a.newest, nil
	if a.newest != nil {
		a.newest.newer = e
	} else {
		a.oldest = e
	}
	a.newest = e
}

func (a *aging[K, V]) unlink(e *aged[K, V]) {
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		a.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		a.newest = e.older
	}
	e.older, e.newer = nil, nil
}
