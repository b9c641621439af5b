package reporter

import (
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/sysctl"
)

// Result is what one pass of a subsystem returned, and when it ended. A zero At
// means that no pass has ended yet: unknown, which is not healthy.
type Result[T any] struct {
	Value T
	At    time.Time
	Err   error
}

// Snapshot is the last result of every subsystem.
type Snapshot struct {
	Sysctl  Result[sysctl.PassResult]
	Inotify Result[inotify.Usage]
	Disk    Result[disk.Usage]
	// Persist is the file for the next boot; nil without --persist.
	Persist *Persisted
	// NodePolicy is what the API server lets this agent's token write; nil without
	// an API server.
	NodePolicy *NodePolicy
	// WorstCase is what the limits in force let users pin; nil where it is unknown.
	WorstCase *sysctl.WorstCase
	// Agent is what the agent of this host reports beyond one look; nil where none was
	// asked.
	Agent []AgentTrouble
	// RefusedClients is what the running agent refused; nil where it is not known.
	RefusedClients *RefusedClients
	// DryRun: this stands for an apply that may not write: the table
	// shows what it would.
	DryRun bool
}

// AgentTrouble is what is wrong by the report of the agent that runs here: it looks more
// than once, so that it sees a collector that stands still.
type AgentTrouble struct {
	Kind     string // as in /status.json
	Critical bool   // lines or calls are lost now, or soon
	Summary  string
	Cause    string
}
