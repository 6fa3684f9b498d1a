package multiraft

// appliedChange is a membership change among the entries of an Apply.
type appliedChange struct {
	index  uint64
	ticket Ticket // of the local ChangeMembership, when own
	own    bool
}
