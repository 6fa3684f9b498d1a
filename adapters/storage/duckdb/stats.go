package duckdb

// CacheUse returns how often decoded columns were found and missed in the cache, and the bytes it holds now.
func (s *Store) CacheUse() (hits, misses uint64, bytes int64) {
	stats := s.cache.Stats()
	return stats.Hits, stats.Misses, stats.Bytes
}

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
