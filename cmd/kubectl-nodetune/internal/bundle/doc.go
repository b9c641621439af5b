// Package bundle writes and reads the archive of `kubectl nodetune bundle`: a
// tar.gz of reports, logs and objects, without secrets and of bounded size.
//
// A bundle may come from a stranger. The reader keeps one entry at a time, writes
// nothing to disk, and ignores entries with names that the writer does not use.
package bundle

import (
	"time"

	"github.com/nodetune/nodetune/reporter/fleet"
)

// Manifest is the first entry of a bundle.
type Manifest struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Created    time.Time `json:"created"`
	Version    string    `json:"version"` // of kubectl-nodetune
	Namespace  string    `json:"namespace"`
	Selector   string    `json:"selector"`
}

// Agent is what the entry agents.json has of each agent.
type Agent struct {
	Node  string `json:"node"`
	Pod   string `json:"pod"`
	Way   string `json:"way,omitempty"`   // proxy or exec
	Error string `json:"error,omitempty"` // why there is no report
}

// Nodes is the entry nodes.json, the document of `nodes -o json`.
type Nodes struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Nodes      []fleet.Node `json:"nodes"`
}

// Omissions is the last entry: what is not in the bundle, and why.
type Omissions struct {
	Omitted []string `json:"omitted"`
}

const (
	manifestName = "manifest.json"
	kind         = "Bundle"
	nodesName    = "nodes.json"
	reportsDir   = "reports/"
	pagesDir     = "pages/"

	// maxEntryBytes bounds an entry, as view.MaxBytes bounds a report.
	maxEntryBytes = 16 << 20
	// DefaultMaxBytes bounds all entries before compression: reports of 1,000 nodes.
	DefaultMaxBytes = 256 << 20
	// maxReadBytes and maxEntries bound what the reader decompresses.
	maxReadBytes = 2 << 30
	maxEntries   = 100_000
)
