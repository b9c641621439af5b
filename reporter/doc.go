// Package reporter holds what the passes of sysctl, inotify and disk returned
// last: the Snapshot. All that nodetune shows, as a table, a document, a metric
// or a node condition, is rendered from it, so that no two of them disagree.
//
// It reads no kernel file and decides nothing about the machine. The packages
// below it each render one form.
package reporter
