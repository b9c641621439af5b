// Package metrics renders the latest Snapshot, the progress of the tasks and
// counters of what nodetune did as Prometheus metrics. A scrape starts no pass
// and waits for none.
package metrics
