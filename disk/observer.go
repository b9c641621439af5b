package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/journal"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Observer sees one host, pass after pass. What a later pass adds (growth,
// bytes per second, readers that have stopped reading) is absent from the
// first. It is for one goroutine.
type Observer struct {
	// WalkEvery is how often /proc is walked for who reads what. It is most of
	// what a pass costs: passes between two walks repeat what the last one saw.
	// Zero: in every pass.
	WalkEvery time.Duration
	// WalkWithin bounds how long a pass walks /proc, whose cost is up to the tenants.
	// A pass after ResumeAfter goes on with the walk; until it is complete, passes repeat
	// what the last complete one saw. Zero: no bound.
	WalkWithin, ResumeAfter time.Duration
	// OpenFiles shows who reads what without a walk of /proc. Where it is nil, or it
	// fails, /proc is walked.
	OpenFiles logs.OpenFileSource

	procfs string
	rootfs hostfs.Root
	policy Policy

	walker     *procwalk.Walker
	reader     *instances.Reader
	pods       *workload.Index
	prober     *filesystem.Prober
	growths    *filesystem.GrowthTracker
	trees      map[string]*logs.Tree // by path
	follow     *logs.ReaderTracker
	journal    journal.Cache
	conf       hostConf // read again with every full pass
	dockerRoot string   // Docker's data-root

	last     time.Time // the last pass
	lastFull time.Time
	lastWalk time.Time
	walked   walked
	part     *part             // of an unfinished walk
	written  map[string]uint64 // by producer, at the last pass
	dumped   []logs.Producer   // core dumps, as the last full pass saw them
}

// collectedFor is how long a collector that is gone is remembered. Longer than an
// update of a DaemonSet takes, and short enough that a node forgets one that was
// removed.
const collectedFor = time.Hour

// New returns an Observer of the host whose procfs, sysfs and root directory
// are mounted there.
func New(procfs, sysfs, rootfs string, policy Policy) (*Observer, error) {
	walker, err := procwalk.New(procfs)
	if err != nil {
		return nil, err
	}
	root, err := hostfs.Open(rootfs)
	if err != nil {
		_ = walker.Close()
		return nil, err
	}
	follow := logs.NewReaderTracker(collectedFor)
	follow.IsFile = root.IsFile
	return &Observer{
		procfs: procfs, rootfs: root, policy: policy,
		walker: walker, reader: instances.NewReader(walker, procfs, sysfs), pods: workload.NewIndex(rootfs), prober: filesystem.NewProber(root),
		growths: filesystem.NewGrowthTracker(policy.GrowthWindow.D()), trees: map[string]*logs.Tree{}, follow: follow,
	}, nil
}

// Close gives the descriptors back.
func (o *Observer) Close() error {
	for _, t := range o.trees {
		t.Close()
	}
	return errors.Join(o.walker.Close(), o.rootfs.Close())
}

// walked is what the last walk of /proc has shown.
type walked struct {
	source                        ReadersSource
	processes, unreadable, unread int
	kubelet, docker               int // their pids

	omitted map[string]int
	later   int // processes that the walk has not come to

	readers    []logs.Reader
	unfollowed []logs.Unfollowed
	deleted    []logs.Deleted
}

// Observe makes one pass at the time now. What could not be seen is in
// Usage.Scan; the error is for what leaves nothing to report.
func (o *Observer) Observe(ctx context.Context, now time.Time) (Usage, error) {
	began := time.Now()
	u := Usage{Scan: Scan{Skipped: map[string]int{}, Omitted: map[string]int{}}}
	wrong := func(err error) {
		if err != nil {
			u.Scan.Errors = append(u.Scan.Errors, err.Error())
		}
	}
	mounts, err := filesystem.ReadHostMounts(o.procfs, o.rootfs)
	if err != nil {
		return u, err
	}
	wrong(o.names(now))
	if n := o.pods.Omitted(); n > 0 {
		u.Scan.Omitted["names of pods and containers"] = n
	}
	var seen *logs.ProcSnapshot // nil: what the last walk saw will do
	if o.walkNow(now) {
		if seen, err = o.walkProcesses(ctx, now, mounts); err != nil {
			return u, err
		}
	}
	if o.walked.unread > 0 {
		u.Scan.Skipped["inotify instances too large to read"] = o.walked.unread
	}
	u.Scan.ReadersSource = o.walked.source
	u.Scan.Processes, u.Scan.Unreadable, u.Scan.Later = o.walked.processes, o.walked.unreadable, o.walked.later
	kubelet, pods, found, err := o.kubelet()
	wrong(err)
	if found {
		u.Kubelet = &kubelet
	} else {
		kubelet = hostconfig.DefaultKubelet() // for its paths
	}

	o.dockerRoot = o.findDockerRoot()
	places := o.places(kubelet)
	answers, errs := o.prober.Measure(paths(places), o.policy.StatfsDeadline.D(), now)
	places = filesystem.WithMountsBelow(o.rootfs, places, mounts, errs)
	below := slices.DeleteFunc(paths(places), func(p string) bool {
		_, measured := answers[p]
		return measured || errs[p] != nil
	})
	moreAnswers, moreErrs := o.prober.Measure(below, o.policy.StatfsDeadline.D(), now)
	maps.Copy(answers, moreAnswers)
	maps.Copy(errs, moreErrs)
	u.Filesystems = filesystem.Describe(places, mounts, answers, errs)
	if found {
		host, done := o.kubeletRoot()
		if seen, err := filesystem.MountsOf(filepath.Join(o.procfs, strconv.Itoa(o.walked.kubelet))); err == nil {
			filesystem.MarkRoles(host, seen, places, u.Filesystems)
		} else {
			filesystem.MarkRoles(host, mounts, places, u.Filesystems)
		}
		done()
	}
	var thresholds []map[string]string
	if found {
		thresholds = []map[string]string{kubelet.EvictionHard, kubelet.EvictionSoft}
	}
	o.growths.Update(u.Filesystems, thresholds, now)

	full := now.Sub(o.lastFull) >= o.policy.FullScanEvery.D() || now.Before(o.lastFull)
	o.scan(ctx, &u, o.tops(places, errs, mounts), kubelet, now, full)
	if err := ctx.Err(); err != nil {
		return u, err
	}
	if seen != nil {
		o.walked.readers, o.walked.unfollowed = o.follow.Readers(seen, o.trees, mounts, o.policy.Readers, now)
		o.walked.deleted = seen.DeletedFiles(u.Filesystems, o.logDirs(places, errs, mounts))
		o.lastWalk = now
	}
	u.Readers, u.Unfollowed, u.Deleted = slices.Clone(o.walked.readers), slices.Clone(o.walked.unfollowed), slices.Clone(o.walked.deleted)
	u.Orphans = reclaim.FindOrphans(o.rootfs, u.Producers, pods, now)
	if full {
		o.conf = o.readHost(errs)
	}
	o.conf.kubelet = u.Kubelet
	u.Findings = slices.Concat(findings(o.conf, u.Filesystems), noKubelet(u), unboundedRotations(o.conf.rotated, u.Producers), o.unreachable(kubelet, errs))
	if u.Filesystems == nil {
		u.Filesystems = []filesystem.Filesystem{}
	}
	u.sort()
	u.Pressure = assessPressure(u, o.policy.Pressure)
	for list, n := range o.walked.omitted {
		u.Scan.Omitted[list] = n
	}
	u.Collected = o.follow.Collected(o.lastWalk)
	u.Reading = assessReaders(u, o.policy.Readers, u.Collected, o.lastWalk)
	u.Scan.ReadersOld = o.lastWalk.IsZero() || now.Sub(o.lastWalk) > oldAfter
	o.last = now
	if full {
		o.lastFull = now
	}
	u.bound(o.policy.MaxRows)
	u.Scan.Full = full
	u.Scan.Seconds = time.Since(began).Seconds()
	return u, nil
}

// names learns the names of pods and containers, unless the filesystem that has
// them hangs: then the ones known before stay.
func (o *Observer) names(now time.Time) error {
	_, errs := o.prober.Measure([]string{"/" + workload.PodLogs, "/" + workload.ContainerLogs}, o.policy.StatfsDeadline.D(), now)
	for p, err := range errs {
		if hung, ok := errors.AsType[*filesystem.HungError](err); ok {
			return fmt.Errorf("read the names in %s: %w", p, hung)
		}
	}
	return o.pods.Refresh()
}
