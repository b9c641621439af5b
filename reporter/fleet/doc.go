// Package fleet summarizes the Nodes of a cluster from their conditions and,
// through the pod proxy of the API server, from the agents on them.
package fleet
