package reporter

// RefusedClients is what a running agent refused to clients of its HTTP server that
// connect or ask too often, since its start. The node's own addresses are never refused,
// and what the kernel drops of such a client is not counted.
type RefusedClients struct {
	Connections uint64 `json:"connections"`
	Requests    uint64 `json:"requests"`
}

// None reports whether nothing was refused.
func (r *RefusedClients) None() bool { return r == nil || *r == RefusedClients{} }
