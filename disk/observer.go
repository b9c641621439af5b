package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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

// runtimes are where container runtimes keep images and containers: containerd,
// Docker, CRI-O and Podman, k3s and RKE2, k0s, MicroK8s.
var runtimes = []string{
	"/var/lib/containerd", "/var/lib/docker", "/var/lib/containers/storage", "/var/lib/rancher/k3s/agent/containerd", "/var/lib/rancher/rke2/agent/containerd",
	"/var/lib/k0s/containerd", "/var/snap/microk8s/common/var/lib/containerd",
}

// journals are where journald keeps its files, journald.conf(5) Storage=.
var journals = []string{"/var/log/journal", "/run/log/journal"}

// walked is what the last walk of /proc has shown.
type walked struct {
	source                        ReadersSource
	processes, unreadable, unread int
	kubelet, docker               int // their pids

	omitted map[string]int

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
	var seen *logs.ProcSnapshot // nil: what the last walk saw will do
	if o.lastWalk.IsZero() || now.Sub(o.lastWalk) >= o.WalkEvery || now.Before(o.lastWalk) {
		if seen, err = o.walkProcesses(ctx, now, mounts); err != nil {
			return u, err
		}
	}
	if o.walked.unread > 0 {
		u.Scan.Skipped["inotify instances too large to read"] = o.walked.unread
	}
	u.Scan.ReadersSource = o.walked.source
	u.Scan.Processes, u.Scan.Unreadable = o.walked.processes, o.walked.unreadable
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
	o.last = now
	if full {
		o.lastFull = now
	}
	u.bound(o.policy.MaxRows)
	u.Scan.Full = full
	u.Scan.Seconds = time.Since(began).Seconds()
	return u, nil
}

// walkProcesses looks at every process.
func (o *Observer) walkProcesses(ctx context.Context, now time.Time, mounts []filesystem.Mount) (*logs.ProcSnapshot, error) {
	seen := o.follow.NewSnapshot(o.pods)
	seen.Procfs = o.procfs
	source := ReadersSource{ReadersFrom: ReadersFromKernel}
	var stats procwalk.Stats
	processes, err := o.openFilesFromKernel(seen, mounts)
	if err != nil {
		source = ReadersSource{ReadersFromProcfs, err.Error()}
		if stats, err = o.walker.Walk(ctx, seen.Visitor()); err != nil {
			return nil, fmt.Errorf("walk %s: %w", o.procfs, err)
		}
		processes = stats.Processes
		seen.ReadWatches(ctx, o.reader, now)
	}
	o.follow.Kubelet = seen.Kubelet
	o.walked = walked{source: source, processes: processes, unread: seen.Unread, omitted: seen.Omitted, kubelet: seen.Kubelet.Pid, docker: seen.Docker.Pid}
	for _, r := range stats.Unreadable {
		o.walked.unreadable += r.Processes
	}
	return seen, nil
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

// places are the paths whose filesystems matter on this host.
func (o *Observer) places(k hostconfig.Kubelet) []filesystem.Place {
	var all []filesystem.Place
	for _, p := range o.policy.LogPaths {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleLogs})
	}
	all = append(all, filesystem.Place{Path: k.PodLogs, Role: filesystem.RoleLogs}, filesystem.Place{Path: k.RootDir, Role: filesystem.RoleKubelet})
	for _, p := range runtimes {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleRuntime})
	}
	if !slices.Contains(runtimes, o.dockerRoot) {
		all = append(all, filesystem.Place{Path: o.dockerRoot, Role: filesystem.RoleRuntime})
	}
	for _, p := range journals {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleJournal})
	}
	for _, p := range o.policy.Filesystems {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleConfigured})
	}
	return all
}

func paths(places []filesystem.Place) []string {
	var all []string
	for _, p := range places {
		if !slices.Contains(all, p.Path) {
			all = append(all, p.Path)
		}
	}
	return all
}

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

// tops are the directories to scan: those of the containers first, so that a
// directory with two paths is known by the one that names its pod.
func (o *Observer) tops(places []filesystem.Place, errs map[string]error, mounts []filesystem.Mount) []string {
	var dirs []string
	for _, p := range places {
		if p.Role == filesystem.RoleLogs && errs[p.Path] == nil {
			dirs = append(dirs, p.Path)
		}
	}
	for _, p := range slices.Concat(journals, reclaim.CoreDumpDirs) {
		if errs[p] == nil {
			dirs = append(dirs, p)
		}
	}
	if errs[o.dockerRoot] == nil {
		dirs = append(dirs, path.Join(o.dockerRoot, "containers"))
	}
	return filesystem.Roots(o.rootfs, dirs, mounts)
}

// hangs reports whether p lies on a filesystem that has not answered.
func hangs(errs map[string]error, p string) bool {
	for at, err := range errs {
		_, below := hostfs.Below(p, at)
		if _, hung := errors.AsType[*filesystem.HungError](err); hung && below {
			return true
		}
	}
	return false
}

// logDirs returns where the log directories lie.
func (o *Observer) logDirs(places []filesystem.Place, errs map[string]error, mounts []filesystem.Mount) []filesystem.Location {
	var all []filesystem.Location
	for _, p := range places {
		if p.Role != filesystem.RoleLogs || errs[p.Path] != nil {
			continue
		}
		if at, ok := filesystem.Locate(o.rootfs, p.Path, mounts); ok {
			all = append(all, at)
		}
	}
	return all
}

// unreachable finds directories of logs that cannot be seen from here: links that
// lead to what is not mounted into the pod, and a podLogsDir that is not there.
func (o *Observer) unreachable(k hostconfig.Kubelet, errs map[string]error) []Finding {
	var found []Finding
	dirs := slices.Concat(o.policy.LogPaths, []string{k.PodLogs, path.Join(o.dockerRoot, "containers")}, journals)
	slices.Sort(dirs)
	for _, p := range slices.Compact(dirs) {
		if hangs(errs, p) {
			continue // the state of the filesystem shows it
		}
		link, target, err := filesystem.BrokenLink(o.rootfs, p)
		switch {
		case err != nil && link != "":
			found = append(found, Finding{
				Reason: FindingNotSeen, Severity: SeverityWarning, Path: p,
				Message: fmt.Sprintf("%s cannot be opened: %s is a link to %s, which cannot be reached from here (%v). The logs in it are not seen, and nothing there is rotated or reclaimed", p, link, target, err),
				Do:      fmt.Sprintf("mount the host's %s at the same path below --path.rootfs (a hostPath volume in a pod), or remove the link", target),
			})
		case err != nil && !errors.Is(err, unix.ENOENT):
			found = append(found, Finding{
				Reason: FindingNotSeen, Severity: SeverityWarning, Path: p,
				Message: fmt.Sprintf("%s cannot be opened (%v): the logs in it are not seen", p, err),
				Do:      "mount the directory below --path.rootfs, and grant CAP_DAC_READ_SEARCH where its mode excludes root",
			})
		case err != nil && p == k.PodLogs && p != "/"+workload.PodLogs:
			found = append(found, Finding{
				Reason: FindingNotSeen, Severity: SeverityWarning, Path: p,
				Message: fmt.Sprintf("the kubelet's podLogsDir is %s, which does not exist here: the logs of containers are not seen", p),
				Do:      fmt.Sprintf("mount the host's %s at the same path below --path.rootfs (a hostPath volume in a pod)", p),
			})
		}
	}
	return found
}

// cmdline returns the NUL-separated arguments of pid, or nothing.
func (o *Observer) cmdline(pid int) []byte {
	if pid == 0 {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(o.procfs, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return nil
	}
	return b
}

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

// findDockerRoot returns Docker's data-root, its default where the configuration
// cannot be read.
func (o *Observer) findDockerRoot() string {
	root, done, err := hostfs.WithEtc(o.procfs, o.rootfs)
	if err != nil {
		return hostconfig.DockerDataDir
	}
	defer done()
	c, _, _ := hostconfig.ReadDocker(root.Files(), o.cmdline(o.walked.docker)) // readHost reports the error
	return c.DataRoot
}

// kubelet finds the kubelet, and the UIDs of the pods it has, nil where they
// are not known. Its files are read below the root of its process where that can
// be opened: a pod has none of its directories mounted, and the kubelet itself
// may live in a container, as on Talos.
func (o *Observer) kubelet() (k hostconfig.Kubelet, pods map[string]bool, found bool, err error) {
	host, done := o.kubeletRoot()
	defer done()
	k, found, err = hostconfig.FindKubelet(o.cmdline(o.walked.kubelet), host.Files())
	if tz, err := host.ReadFile("/etc/localtime"); err == nil {
		if zone, err := time.LoadLocationFromTZData("the host's", tz); err == nil {
			k.Zone = zone
		}
	}
	if names, err := host.List(path.Join(k.RootDir, "pods")); found && err == nil {
		pods = map[string]bool{}
		for _, uid := range names {
			pods[uid] = true
		}
	}
	return k, pods, found, err
}

// kubeletRoot is the root directory of the kubelet's process, or else the host's.
func (o *Observer) kubeletRoot() (host hostfs.Root, done func()) {
	if pid := o.walked.kubelet; pid != 0 {
		if root, err := hostfs.OfProcess(o.procfs, pid); err == nil {
			return root, func() { _ = unix.Close(int(root)) }
		}
	}
	return o.rootfs, func() {}
}
