package disk

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// scan brings the trees up to date: one for every log directory, one for every
// mount below it, and one for each of the directories that lie elsewhere.
func (o *Observer) scan(ctx context.Context, u *Usage, tops []string, k hostconfig.Kubelet, now time.Time, full bool) {
	for p := range o.trees {
		if !slices.Contains(tops, p) {
			o.trees[p].Close()
			delete(o.trees, p)
		}
	}
	seconds := 0.0
	if !o.last.IsZero() && now.After(o.last) {
		seconds = now.Sub(o.last).Seconds()
	}
	written := map[string]uint64{}
	var trees []*logs.Tree
	for _, p := range tops {
		t := o.trees[p]
		if t == nil {
			t = &logs.Tree{Host: p, Pods: k.PodLogs, Docker: path.Join(o.dockerRoot, "containers"), Keep: logs.MaxOpenDirs()}
			o.trees[p] = t
		}
		if err := t.Update(o.rootfs, now, full); err != nil {
			if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
				u.Scan.Errors = append(u.Scan.Errors, err.Error())
			}
			delete(o.trees, p)
			continue
		}
		trees = append(trees, t)
	}
	logs.MarkOverlaps(trees)
	for _, t := range trees {
		budget := unpackLater
		if o.last.IsZero() {
			budget = unpackFirst
		}
		t.CheckArchives(ctx, o.rootfs, budget)
		u.Corrupt = append(u.Corrupt, t.CorruptArchives()...)
		u.Producers = append(u.Producers, t.Producers(seconds, o.written, written)...)
		u.Scan.Directories += t.Dirs
		u.Scan.Files += t.Files
		u.Scan.Listed += t.Listed
		for reason, n := range t.Skipped {
			u.Scan.Skipped[reason] += n
		}
	}
	o.written = written
	for i := range u.Producers {
		if p := &u.Producers[i]; p.ContainerID != "" && p.Pod == "" {
			p.Workload = o.pods.Named(p.Workload)
		}
	}
	var journal []string
	for _, p := range u.Producers {
		if p.Kind == logs.KindJournal {
			journal = append(journal, p.Path)
		}
	}
	units, omitted := o.journal.Units(ctx, o.rootfs, journal, seconds)
	maps.Copy(u.Scan.Omitted, omitted)
	for _, x := range units {
		u.Producers = append(u.Producers, logs.Producer{
			Kind: logs.KindUnit, Workload: workload.Workload{Unit: x.Unit}, Path: strings.Join(journal, " "),
			Bytes: x.Bytes, BytesPerSecond: x.BytesPerSecond, Estimated: true,
		})
	}
	if full {
		o.dumped = o.cores(now)
	}
	u.Producers = append(u.Producers, o.dumped...)
}

// How much is unpacked in a pass to see whether archives are whole: in the
// first one, which is all that a command makes, about a second's worth; later
// what takes some 50 ms.
const (
	unpackFirst int64 = 256 << 20
	unpackLater int64 = 16 << 20
)

// cores returns what the core dumps take that no scan of a directory shows.
func (o *Observer) cores(now time.Time) []logs.Producer {
	c, ok := reclaim.ReadCoreDir(o.procfs)
	for _, top := range slices.Concat(o.policy.LogPaths, reclaim.CoreDumpDirs) {
		_, below := hostfs.Below(c.Dir, top)
		ok = ok && !below
	}
	if !ok {
		return nil
	}
	if _, errs := o.prober.Measure([]string{c.Dir}, o.policy.StatfsDeadline.D(), now); errs[c.Dir] != nil {
		return nil // not there, or a mount that hangs
	}
	p := logs.Producer{Kind: logs.KindCore, Path: c.Dir}
	c.Each(o.rootfs, func(_ string, st *unix.Statx_t) {
		p.Files++
		p.Bytes += st.Blocks * 512
	})
	if p.Files == 0 {
		return nil
	}
	return []logs.Producer{p}
}
