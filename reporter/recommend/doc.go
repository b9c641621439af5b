// Package recommend derives floors and ceilings for a configuration from what
// nodes use.
//
// It is pure: [FromStatus] and the package reports take what matters from the
// document of a node, and [From] compares the samples. Documents of one node at
// several times give its peak, documents of several nodes that of a pool. No floor
// is below a value in force. It runs on every system, as the kubectl plugin does.
package recommend
