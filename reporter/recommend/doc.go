// Package recommend derives floors and ceilings for a configuration from what
// nodes use.
//
// It is pure: [Observe] takes what matters from the report of a node, and [From]
// compares the samples. Reports of one node at several times give its peak,
// reports of several nodes that of a pool. No floor is below a value in force.
package recommend
