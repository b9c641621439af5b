package disk

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// The reasons of findings.
const (
	FindingKubeletOvershoot   = "KubeletRotationOvershoots"
	FindingKubeletRotationOff = "KubeletRotationOff"
	FindingLogsUnwatched      = "LogsUnwatchedByKubelet"
	FindingJournalUnbudgeted  = "JournalWithoutBudget"
	FindingCopyTruncate       = "LogrotateCopyTruncate"
	FindingDockerUnbounded    = "DockerLogsUnbounded"
	FindingReservedBlocks     = "ReservedBlocks"
	FindingKubeletValue       = "KubeletValueRejected"
	FindingLogrotateUnbounded = "LogrotateWithoutSize"
	FindingNotSeen            = "NotSeen"
	FindingCannotAct          = "CannotAct"
)

// hostConf is what the configuration files of a host say.
type hostConf struct {
	mode     Mode
	lacks    []string // capabilities
	readOnly []string // log directories

	etc      error // why /etc could not be read: the others but kubelet are unknown
	kubelet  *hostconfig.Kubelet
	journals []hostconfig.JournalConf
	rotated  []hostconfig.LogrotateStanza
	docker   *hostconfig.Docker // nil where Docker is not installed
	// dockerFile is the file that configures Docker.
	dockerFile string
	// problems are files that could not be read or understood.
	problems []hostconfig.Problem
}

// readHost reads the configuration files. A missing file says nothing; a file
// that cannot be read or understood is a problem. What did not answer, errs, is
// left alone.
func (o *Observer) readHost(errs map[string]error) hostConf {
	c := hostConf{mode: o.policy.Mode, lacks: o.policy.lacks(), readOnly: o.readOnlyHere(errs)}
	root, done, err := hostfs.WithEtc(o.procfs, o.rootfs)
	if err != nil {
		c.etc = err
		return c
	}
	defer done()
	host := root.Files()
	logrotate := hostconfig.ReadLogrotate(host)
	c.rotated = logrotate.Stanzas
	var wrong []hostconfig.Problem
	// absent, or it hangs
	c.journals, wrong = hostconfig.ReadJournals(host, func(dir string) bool { return errs[dir] != nil })
	c.problems = append(logrotate.Problems, wrong...)
	docker, file, err := hostconfig.ReadDocker(host, o.cmdline(o.walked.docker))
	if err != nil {
		c.problems = append(c.problems, hostconfig.Problem{Path: file, Message: err.Error()})
	} else if _, err := host.List(path.Join(docker.DataRoot, "containers")); err == nil {
		c.docker, c.dockerFile = &docker, file
	}
	return c
}

// findings judges a host by its configuration and its filesystems.
func findings(c hostConf, all []filesystem.Filesystem) []Finding {
	var found []Finding
	add := func(ok bool, f Finding) {
		if ok {
			found = append(found, f)
		}
	}
	add(c.etc != nil, Finding{
		Reason: FindingNotSeen, Severity: SeverityInfo, Path: "/etc",
		Message: fmt.Sprintf("nodetune does not know how journald, logrotate and Docker keep logs: %v", c.etc),
		Do:      "mount the host's /etc read-only below --path.rootfs, or its /proc with CAP_SYS_PTRACE",
	})
	if k := c.kubelet; k != nil && k.Error != "" {
		add(true, Finding{
			Reason: FindingNotSeen, Severity: SeverityInfo, Path: k.Config,
			Message: fmt.Sprintf("nodetune does not know how the kubelet rotates logs and when it evicts, and assumes the kubelet's defaults: %s", k.Error),
			Do:      "mount the file read-only below --path.rootfs, or the host's /proc with CAP_SYS_PTRACE",
		})
	} else if k != nil {
		add(k.LogMaxSizeBytes < 0, Finding{
			Reason: FindingKubeletRotationOff, Severity: SeverityWarning, Path: k.Config,
			Message: "the kubelet rotates no container log: containerLogMaxSize is negative",
			Do:      "set containerLogMaxSize: 10Mi in the kubelet's configuration, or let nodetune rotate with disk.mode: exclusive",
		})
		// With one worker every ten seconds two writers at 32 MB/s reached a
		// live log of 430 MiB with a limit of 10; with four every three seconds
		// it stayed near its limit.
		add(k.LogMaxSizeBytes >= 0 && k.LogMaxWorkers < 2 && k.LogMonitorInterval > 5, Finding{
			Reason: FindingKubeletOvershoot, Severity: SeverityWarning, Path: k.Config,
			Message: fmt.Sprintf("the kubelet looks at log sizes every %v s with %d worker: a burst of 30 MB/s makes a %s log %s and more before it is rotated, and compressing one log holds up all others",
				k.LogMonitorInterval, k.LogMaxWorkers, field.Size(uint64(k.LogMaxSizeBytes)), field.Size(uint64(30e6*k.LogMonitorInterval))),
			Do: "set containerLogMaxWorkers: 4 and containerLogMonitorInterval: 3s in the kubelet's configuration",
		})
	}
	found = append(found, cannotAct(c)...)
	found = append(found, unwatched(c.kubelet, all)...)
	if k := c.kubelet; k != nil {
		for _, what := range k.Unseen {
			add(true, Finding{
				Reason: FindingNotSeen, Severity: SeverityInfo, Path: k.Config, Message: what,
				Do: "write the kubelet's arguments into the configuration file, or mount the host's /etc read-only below --path.rootfs",
			})
		}
		for _, w := range k.Warnings {
			add(true, Finding{
				Reason: FindingKubeletValue, Severity: SeverityWarning, Path: k.Config, Message: w,
				Do: "correct the value in the kubelet's configuration",
			})
		}
	}
	for _, j := range c.journals {
		f, ok := unbudgetedJournal(j)
		add(ok, f)
	}
	for _, s := range c.rotated {
		add(s.Copytruncate && s.Skipped == "", Finding{
			Reason: FindingCopyTruncate, Severity: SeverityWarning, Path: s.File,
			Message: fmt.Sprintf("%s:%d rotates %s with copytruncate, which loses what is written between its copy and its truncation (7%% of the lines of a busy log)",
				s.File, s.Line, s.Some()),
			Do: "rename and have the writer reopen (create, postrotate), or let nodetune rotate the file",
		})
	}
	if d := c.docker; d != nil {
		add((d.LogDriver == "json-file") && d.LogOpts["max-size"] == "", Finding{
			Reason: FindingDockerUnbounded, Severity: SeverityWarning, Path: c.dockerFile,
			Message: "Docker's json-file logs grow without bound: no max-size is set",
			Do:      fmt.Sprintf(`set "log-opts": {"max-size": "10m", "max-file": "5"} in %s; it holds for containers created from then on`, c.dockerFile),
		})
	}
	for _, p := range c.problems[:min(len(c.problems), hostconfig.MaxWarnings)] {
		add(true, Finding{
			Reason: FindingNotSeen, Severity: SeverityInfo, Path: p.Path,
			Message: fmt.Sprintf("a configuration file is not read as it stands: %s", p.Message),
			Do:      "correct the file, or make it readable; nodetune does not act upon what it says",
		})
	}
	for _, f := range all {
		// ext4 keeps 5 % for root by default. df and the kubelet count it as
		// used, so a disk is full for pods long before it is full.
		add(f.Measured() && f.SizeBytes > 0 && filesystem.Percent(f.ReservedBytes, f.SizeBytes) >= 4, Finding{
			Reason: FindingReservedBlocks, Severity: SeverityInfo, Path: f.Path,
			Message: fmt.Sprintf("%s of %s are reserved for root: the kubelet counts them as used", field.Size(f.ReservedBytes), f.Path),
			Do:      fmt.Sprintf("'tune2fs -m 1 %s' gives most of it back, where nothing needs it", f.Source),
		})
	}
	return found
}

// unwatched finds filesystems with logs that no eviction of the kubelet looks
// at: they run full while it sees nothing.
func unwatched(k *hostconfig.Kubelet, all []filesystem.Filesystem) []Finding {
	if k == nil {
		return nil
	}
	if !slices.ContainsFunc(all, func(f filesystem.Filesystem) bool { return slices.Contains(f.Roles, filesystem.RoleKubelet) }) {
		return []Finding{{
			Reason: FindingNotSeen, Severity: SeverityInfo, Path: k.RootDir,
			Message: fmt.Sprintf("nodetune cannot see %s: it does not know whether the kubelet watches the filesystems with logs, and when it evicts", k.RootDir),
			Do:      "mount it read-only below --path.rootfs, or the host's /proc with CAP_SYS_PTRACE",
		}}
	}
	var found []Finding
	for _, f := range all {
		if slices.Contains(f.Roles, filesystem.RoleLogs) && !slices.Contains(f.Roles, filesystem.RoleKubelet) && f.Measured() {
			found = append(found, Finding{
				Reason: FindingLogsUnwatched, Severity: SeverityWarning, Path: f.Path,
				Message: fmt.Sprintf("logs are on %s, and the kubelet watches the filesystem of %s only: it evicts no pod when %s is full", f.Path, k.RootDir, f.Path),
				Do:      "alert on nodetune's LogDiskPressure for it, and keep disk.pressure.availPercent above what a burst needs",
			})
		}
	}
	return found
}

// unboundedFrom is from how many bytes on a log without a limit on its size is
// worth a finding: the kubelet rotates a container's log at as many.
const unboundedFrom = hostconfig.DefaultLogMaxSize

// unboundedRotations finds stanzas of logrotate whose logs have become large and
// are rotated by time alone.
func unboundedRotations(rotated []hostconfig.LogrotateStanza, producers []logs.Producer) []Finding {
	held := make([]uint64, len(rotated))
	largest := make([]logs.Producer, len(rotated))
	for _, p := range producers {
		if p.Kind != logs.KindFile {
			continue
		}
		// The first stanza that names a log rotates it.
		i := slices.IndexFunc(rotated, func(s hostconfig.LogrotateStanza) bool { return s.Skipped == "" && s.Matches(p.Path) })
		if i < 0 {
			continue
		}
		held[i] += p.Bytes
		if p.Bytes > largest[i].Bytes {
			largest[i] = p
		}
	}
	var found []Finding
	for i, s := range rotated {
		if s.Bounded() || held[i] < unboundedFrom {
			continue
		}
		found = append(found, Finding{
			Reason: FindingLogrotateUnbounded, Severity: SeverityWarning, Path: s.File,
			Message: fmt.Sprintf("%s:%d rotates %s %s, whatever its size: its logs hold %s, %s of them %s",
				s.File, s.Line, s.Some(), s.Every, field.Size(held[i]), field.Size(largest[i].Bytes), largest[i].Path),
			Do: "add maxsize, for example maxsize 100M, to the block, and run logrotate hourly (logrotate.timer)",
		})
	}
	return found
}

// PodsWithoutKubelet reports whether there are logs of pods on a host where no
// kubelet was found.
func (u Usage) PodsWithoutKubelet() bool {
	return u.Kubelet == nil && slices.ContainsFunc(u.Producers, func(p logs.Producer) bool { return p.Kind == logs.KindContainer && p.PodUID != "" })
}

// noKubelet is the finding about it.
func noKubelet(u Usage) []Finding {
	if !u.PodsWithoutKubelet() {
		return nil
	}
	return []Finding{{
		Reason: FindingNotSeen, Severity: SeverityWarning, Path: "/var/log/pods",
		Message: "there are logs of pods, and no kubelet was found: nodetune does not know when it evicts and how it rotates, and rotates no container's log",
		Do:      "run nodetune in the host's pid namespace (hostPID) with CAP_SYS_PTRACE, or mount the kubelet's configuration read-only below --path.rootfs",
	}}
}

// unbudgetedJournal finds a journal that has no size limit of its own. The setting it
// names is the one that applies where the journal is.
func unbudgetedJournal(j hostconfig.JournalConf) (Finding, bool) {
	key := "SystemMaxUse"
	if j.Dir == hostconfig.VolatileJournal {
		key = "RuntimeMaxUse"
	}
	value := j.Values[key]
	// Zero is a size, and journald then removes no file for its size
	// (journal_directory_vacuum).
	off := strings.Trim(value, "0.BKMGTPE \t") == "" && strings.Contains(value, "0")
	if hostconfig.ValidSystemdSize(value) && !off {
		return Finding{}, false
	}
	name, unit := "journald.conf", "systemd-journald"
	if j.Namespace != "" {
		name, unit = "journald@"+j.Namespace+".conf", "systemd-journald@"+j.Namespace
	}
	f := Finding{
		Reason: FindingJournalUnbudgeted, Severity: SeverityInfo, Path: path.Join("/etc/systemd", name),
		Message: fmt.Sprintf("the journal in %s has no size limit of its own: it takes up to 10%% of its filesystem and 4 GiB, and does not shrink when other files fill the disk", j.Dir),
		Do:      fmt.Sprintf("set %s=, for example 1G, in /etc/systemd/%s.d/50-size.conf and restart %s", key, name, unit),
	}
	if j.Dir == hostconfig.VolatileJournal {
		f.Message = fmt.Sprintf("the journal is in %s, in memory, and has no size limit of its own: it takes up to 10%% of the tmpfs /run and 4 GiB", j.Dir)
		f.Do = fmt.Sprintf("set %s=, for example 64M, in /etc/systemd/%s.d/50-size.conf and restart %s", key, name, unit)
	}
	if off {
		f.Severity = SeverityWarning
		f.Message = fmt.Sprintf("%s=%s switches the size limit of the journal in %s off: it grows until its filesystem is short", key, value, j.Dir)
	} else if value != "" {
		f.Message = fmt.Sprintf("%s=%.40q is no size, so journald ignores it; %s", key, value, f.Message)
	}
	return f, true
}
