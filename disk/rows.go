package disk

import (
	"cmp"
	"slices"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
)

// sort puts the largest first.
func (u *Usage) sort() {
	slices.SortFunc(u.Producers, func(a, b logs.Producer) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Path, b.Path))
	})
	slices.SortFunc(u.Readers, func(a, b logs.Reader) int {
		return cmp.Or(cmp.Compare(b.LagBytes, a.LagBytes), cmp.Compare(a.Path, b.Path), cmp.Compare(a.PID, b.PID))
	})
	slices.SortFunc(u.Unfollowed, func(a, b logs.Unfollowed) int {
		return cmp.Or(cmp.Compare(b.GrewBytes, a.GrewBytes), cmp.Compare(b.SizeBytes, a.SizeBytes), cmp.Compare(a.Path, b.Path))
	})
	slices.SortFunc(u.Deleted, func(a, b logs.Deleted) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Inode, b.Inode))
	})
	slices.SortFunc(u.Corrupt, func(a, b logs.Corrupt) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(u.Orphans, func(a, b reclaim.Orphan) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Path, b.Path))
	})
}

// bound cuts every list to n rows.
func (u *Usage) bound(n int) {
	u.Producers = bound(u, "producers", u.Producers, n)
	u.Readers = bound(u, "readers", u.Readers, n)
	u.Unfollowed = bound(u, "unfollowed", u.Unfollowed, n)
	u.Deleted = bound(u, "deleted", u.Deleted, n)
	u.Orphans = bound(u, "orphans", u.Orphans, n)
	u.Corrupt = bound(u, "corrupt", u.Corrupt, n)
	u.Findings = bound(u, "findings", u.Findings, n)
}

// bound returns at most n rows, never nil: in JSON a list without rows is [].
func bound[T any](u *Usage, list string, rows []T, n int) []T {
	if rows == nil {
		return []T{}
	}
	if len(rows) <= n {
		return rows
	}
	u.Scan.Omitted[list] = len(rows) - n
	return rows[:n]
}
