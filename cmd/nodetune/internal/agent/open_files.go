package agent

import (
	"errors"

	"github.com/nodetune/nodetune/internal/openfiles"
)

// errNoUsage is the time before the first pass of the inotify task.
var errNoUsage = errors.New("inotify usage is not counted yet")

// OpenFiles returns who has which file open, from the source that counts inotify usage.
// That source may be replaced or closed at any time.
func (a *Agent) OpenFiles(filter openfiles.Filter) (openfiles.Scan, error) {
	source := a.usage.Load()
	if source == nil {
		return openfiles.Scan{}, errNoUsage
	}
	return source.OpenFiles(filter)
}
