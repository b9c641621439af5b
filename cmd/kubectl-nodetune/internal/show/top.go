package show

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"
)

// Top writes the accounts that the kernel charges, and the processes that hold the
// most, rows of each (0: all).
func Top(w io.Writer, r *view.Report, rows int) error {
	u := r.Inotify
	if u == nil {
		return missing(w, r, "inotify")
	}
	t := newTable(w, "UID\tUSERNS\tINSTANCES\tLIMIT\t%\tWATCHES\tLIMIT\t%")
	for _, a := range first(u.Accounts, rows) {
		t.row(a.UID, a.UserNS, count(a.Instances, a.InstancesQuality), limit(a.InstancesLimit), percent(a.Instances, a.InstancesLimit, a.InstancesQuality),
			count(a.Watches, a.WatchesQuality), limit(a.WatchesLimit), percent(a.Watches, a.WatchesLimit, a.WatchesQuality))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	more(w, len(u.Accounts), rows, "account", "accounts")
	fmt.Fprintf(w, "open files of the node: %d of %s\n\n", u.Limits.OpenFiles, limit(u.Limits.FileMax))
	all := slices.Clone(u.Processes)
	slices.SortStableFunc(all, func(a, b view.Process) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches))
	})
	t = newTable(w, "PID\tUID\tINSTANCES\tWATCHES\tFDS\tNOFILE\tCOMMAND\tPOD OR UNIT")
	for _, p := range first(all, rows) {
		t.row(p.PID, p.UID, count(p.Instances, p.Quality), p.Watches, p.FDs, limit(p.NOFILESoft), p.Comm, p.Workload)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	more(w, len(all), rows, "process", "processes")
	gaps(w, u.Unknown)
	return nil
}

func gaps(w io.Writer, all []view.Gap) {
	for _, g := range all {
		fmt.Fprintf(w, "not known: %s: %s\n", safetext.String(g.What), safetext.String(g.Why))
	}
}
