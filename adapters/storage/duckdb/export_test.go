package duckdb

// WithFault returns o with what DuckDB shall have answered to a statement instead of running it, "" for
// letting it run.
func (o Options) WithFault(fault func(statement string) string) Options {
	o.fault = fault
	return o
}

// ReopeningsMax is how often DuckDB is started anew before its error stays.
const ReopeningsMax = reopeningsMax
