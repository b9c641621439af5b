// Package kube publishes the health of one node to the Kubernetes API server, as
// node conditions and Events, and reads what the pods of the node ask for.
//
// A write to the Node goes from Publisher.Update through the difference to the
// Node as it was last seen, the schedule of writes and one patch. Everything
// works on without an API server and is written when the server answers again.
package kube
