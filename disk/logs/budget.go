package logs

import (
	"cmp"
	"slices"
	"strings"
)

// budget bounds the memory that a tree keeps, in bytes, whatever names the
// owners of its directories make. What it refuses is counted in Tree.Skipped.
//
// No owner of one directory can use it up for the others: a directory below the
// top has a share, and so has each pod.
type budget struct {
	used int64
	most int64 // of the directory that is being visited, with those before it
}

const (
	// treeBytes is what one tree may keep. A node of 250 pods with 1,000 live
	// files takes 1 MiB; the agent has 64 MiB for everything.
	treeBytes = 8 << 20
	// othersBytes is what all the directories that do not lead to the pods'
	// logs may take together, subtreeBytes what one of them may take below
	// /var/log, and podBytes what one pod may.
	othersBytes  = treeBytes / 2
	subtreeBytes = treeBytes / 4
	podBytes     = treeBytes / 16
	// topBytes is what the top itself may take, so that names made there leave
	// room for what is below it; podsBytes is the same for /var/log/pods.
	topBytes  = treeBytes / 4
	podsBytes = treeBytes * 3 / 4

	// What is kept of each, with the row that is made of it in every pass and
	// the entries in maps; the names are added. A test measures that the heap
	// does not grow by more.
	// A directory may always have one row, for what is not reported by name.
	dirBytes   = 950
	groupBytes = 720
	fileBytes  = 460

	// logReserve is what directories leave to the logs beside them.
	logReserve = 256 << 10

	// maxGroups is how many logs of one directory are reported by name, the
	// largest. /var/log of a busy host has some 100.
	maxGroups = 1_000
	// minFold is how many a directory must have for the smaller half to make
	// room for a new one.
	minFold = 64

	skipSummed = "summed" // logs that are reported only as part of their directory
)

// take reports whether n more bytes may be kept, and counts them.
func (b *budget) take(n int64) bool {
	if b.used+n > b.most {
		return false
	}
	b.used += n
	return true
}

// allowance is what the visit of a directory may take; see share.
type allowance struct {
	before int64 // what its parent may take
	others bool  // the visit has an account of its own
}

// share limits what the visit of c, a child of d, may take, until restore.
func (t *Tree) share(d, c *dir) allowance {
	a := allowance{before: t.budget.most}
	switch {
	case t.Pods != "" && d.path == t.Pods:
		t.budget.most = min(a.before, t.budget.used+podBytes)
	case d == t.top && !t.leadsToPods(c):
		a.others = true
		t.budget.used, t.others = t.others, t.budget.used
		t.budget.most = min(othersBytes, t.budget.used+subtreeBytes)
	}
	return a
}

// restore ends what share began.
func (t *Tree) restore(a allowance) {
	t.budget.most = a.before
	if a.others {
		t.budget.used, t.others = t.others, t.budget.used
	}
}

// leadsToPods reports whether the pods' logs are in c, or c is one of them.
func (t *Tree) leadsToPods(c *dir) bool {
	return t.Pods != "" && (strings.HasPrefix(t.Pods+"/", c.path+"/") || strings.HasPrefix(c.path+"/", t.Pods+"/"))
}

// enter counts what is kept of d from an earlier pass. Where that is more than
// is left, d is forgotten and enter returns false.
func (t *Tree) enter(d *dir) bool {
	if t.budget.take(d.kept) {
		if d.refused > 0 {
			t.Skipped[skipTooMany] += d.refused
		}
		if d.summed > 0 {
			t.Skipped[skipSummed] += d.summed
		}
		return true
	}
	t.release(d, true)
	d.children, d.groups, d.live, d.broken = nil, nil, nil, nil
	d.kept, d.refused, d.summed, d.ino, d.files = 0, 0, 0, 0, 0
	t.Skipped[skipTooMany]++
	return false
}

// relist gives back what d had, before it is listed again.
func (t *Tree) relist(d *dir) {
	t.budget.used -= d.kept
	t.Skipped[skipTooMany] -= d.refused
	t.Skipped[skipSummed] -= d.summed
	for _, reason := range [...]string{skipTooMany, skipSummed} {
		if t.Skipped[reason] == 0 {
			delete(t.Skipped, reason)
		}
	}
	d.kept, d.refused, d.summed = 0, 0, 0
}

// keep counts n bytes that are kept of the directory.
func (l *listing) keep(n int64) bool {
	most := int64(treeBytes)
	switch {
	case l.tree.Pods != "" && l.dir.path == l.tree.Pods:
		most = podsBytes
	case l.depth == 0:
		most = topBytes
	}
	if l.dir.kept+n > most || !l.tree.budget.take(n) {
		return false
	}
	l.dir.kept += n
	return true
}

// keepChild reports whether another directory may be kept.
func (l *listing) keepChild(c *dir) bool {
	b := &l.tree.budget
	if b.used+logReserve < b.most && l.keep(int64(dirBytes+len(c.path)+len(c.name))) {
		return true
	}
	l.dir.refused++
	l.tree.Skipped[skipTooMany]++
	return false
}

// keepFile reports whether another live file may be kept. Where it may not, its
// bytes are counted as they are now.
func (l *listing) keepFile(name []byte) bool {
	if l.tree.live+len(l.dir.live) < maxLive && l.keep(int64(fileBytes+len(name))) {
		return true
	}
	l.sum()
	return false
}

// keepGroup reports whether another log may be kept by its name.
func (l *listing) keepGroup(base string) bool {
	if len(base) == 0 {
		return true // there is one at most
	}
	n := int64(groupBytes + 2*len(base) + len(l.dir.path))
	if len(l.groups) < 2*maxGroups && l.keep(n) || l.fold() && l.keep(n) {
		return true
	}
	l.sum()
	return false
}

func (l *listing) sum() {
	l.dir.summed++
	l.tree.Skipped[skipSummed]++
}

// fold keeps the larger half of the logs of the directory, at most maxGroups,
// and adds the others to the rest. So the largest are known by name, in
// whatever order they are listed.
func (l *listing) fold() bool {
	if len(l.groups) < minFold {
		return false
	}
	size := make(map[*group]uint64, len(l.groups))
	for i := range l.dir.live {
		size[l.dir.live[i].group] += l.dir.live[i].blocks
	}
	all := make([]*group, 0, len(l.groups))
	for _, g := range l.groups {
		if g.base != "" {
			all = append(all, g)
			size[g] += g.quiet
		}
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(cmp.Compare(size[b], size[a]), cmp.Compare(a.base, b.base))
	})
	rest := l.group(nil)
	freed := int64(0)
	folded := map[*group]bool{}
	for _, g := range all[min(maxGroups, len(all)/2):] {
		rest.quiet += size[g]
		rest.files += g.files
		rest.archives += g.archives
		rest.written += g.written
		freed += int64(groupBytes + 2*len(g.base) + len(l.dir.path))
		folded[g] = true
		delete(l.groups, g.base)
		l.sum()
	}
	l.dir.live = slices.DeleteFunc(l.dir.live, func(f file) bool {
		if folded[f.group] {
			freed += int64(fileBytes + len(f.name))
			return true
		}
		return false
	})
	l.dir.kept -= freed
	l.tree.budget.used -= freed
	return true
}
