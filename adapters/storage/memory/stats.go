package memory

// ExpiredSamples returns how many samples came to the open shards that lay before their metric's cut-off,
// and were left out.
func (s *Store) ExpiredSamples() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var expired uint64
	for _, r := range s.mu.shards {
		if r != nil {
			expired += r.table.Expired()
		}
	}
	return expired
}
