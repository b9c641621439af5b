package reclaim

import (
	"context"
	"strconv"

	"github.com/nodetune/nodetune/disk/journal"
)

// rotateJournal makes journald close its files and begin new ones, so that the
// old ones are archived and can go: io.systemd.Journal.Rotate on its varlink
// socket, one JSON object with a NUL after it.
func (r *Reclaimer) rotateJournal(ctx context.Context) error {
	// Below the root of the host, also where that is not ours.
	at := "/proc/self/fd/" + strconv.Itoa(int(r.host.Rootfs)) + "/" + r.journald
	return journal.Call(ctx, at, "io.systemd.Journal.Rotate")
}
