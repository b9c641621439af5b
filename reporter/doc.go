// Package reporter renders what the passes of sysctl, inotify and disk saw: as
// a table, as JSON and YAML, and for the agent as metrics, node conditions and
// a status page. All of them render the same [Snapshot], so they cannot
// disagree.
//
// It reads no kernel file itself and decides nothing about the machine.
package reporter
