package disk

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
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
	FindingNotSeen            = "NotSeen"
	FindingCannotAct          = "CannotAct"
)

// hostConf is what the configuration files of a host say.
type hostConf struct {
	mode     Mode
	lacks    []string // capabilities
	readOnly []string // log directories

	etc      error // why /etc could not be read: the others but kubelet are unknown
	kubelet  *Kubelet
	journald map[string]string // nil where there is no journal
	rotated  []stanza
	docker   *dockerConfig // nil where Docker is not installed
}

// readHost reads the configuration files. Those that are missing or broken say
// nothing; who reads them in earnest complains. What did not answer, errs, is
// left alone.
func (o *Observer) readHost(errs map[string]error) hostConf {
	c := hostConf{mode: o.policy.Mode, lacks: o.policy.lacks(), readOnly: o.readOnlyHere(errs)}
	host, done, err := rootWithEtc(o.procfs, o.rootfs)
	if err != nil {
		c.etc = err
		return c
	}
	defer done()
	c.rotated = readLogrotate(host.readFile, host.list)
	for _, p := range journals {
		if errs[p] != nil {
			continue // absent, or it hangs
		}
		if _, err := host.list(p); err == nil {
			c.journald = readJournald(host.readFile, host.list)
			break
		}
	}
	if _, err := host.list(dockerLogs); err == nil {
		b, err := host.readFile("/etc/docker/daemon.json")
		if errors.Is(err, os.ErrNotExist) {
			b, err = []byte("{}"), nil
		}
		if err == nil {
			if d, err := parseDocker(b); err == nil {
				c.docker = &d
			}
		}
	}
	return c
}

// findings judges a host by its configuration and its filesystems.
func findings(c hostConf, all []Filesystem) []Finding {
	var found []Finding
	add := func(ok bool, f Finding) {
		if ok {
			found = append(found, f)
		}
	}
	add(c.etc != nil, Finding{
		Reason: FindingNotSeen, Severity: SeverityInfo, Path: "/etc",
		Message: fmt.Sprintf("how journald, logrotate and Docker keep logs is not known: %v", c.etc),
		Do:      "mount the host's /etc read-only below --path.rootfs, or its /proc with CAP_SYS_PTRACE",
	})
	if k := c.kubelet; k != nil && k.Error != "" {
		add(true, Finding{
			Reason: FindingNotSeen, Severity: SeverityInfo, Path: k.Config,
			Message: fmt.Sprintf("how the kubelet rotates logs and when it evicts is not known, its defaults are assumed: %s", k.Error),
			Do:      "mount the file read-only below --path.rootfs, or the host's /proc with CAP_SYS_PTRACE",
		})
	} else if k != nil {
		add(k.LogMaxSizeBytes < 0, Finding{
			Reason: FindingKubeletRotationOff, Severity: SeverityWarning, Path: k.Config,
			Message: "the kubelet rotates no container log: containerLogMaxSize is negative",
			Do:      "set containerLogMaxSize: 10Mi in the kubelet's configuration, or let nodetune rotate with disk.mode: own",
		})
		// With one worker every ten seconds two writers at 32 MB/s reached a
		// live log of 430 MiB with a limit of 10; with four every three seconds
		// it stayed near its limit.
		add(k.LogMaxSizeBytes >= 0 && k.LogMaxWorkers < 2 && k.LogMonitorInterval > 5, Finding{
			Reason: FindingKubeletOvershoot, Severity: SeverityWarning, Path: k.Config,
			Message: fmt.Sprintf("the kubelet looks at log sizes every %v s with %d worker: a burst of 30 MB/s makes a %s log %s and more before it is rotated, and compressing one log holds up all others",
				k.LogMonitorInterval, k.LogMaxWorkers, Size(uint64(k.LogMaxSizeBytes)), Size(uint64(30e6*k.LogMonitorInterval))),
			Do: "set containerLogMaxWorkers: 4 and containerLogMonitorInterval: 3s in the kubelet's configuration",
		})
	}
	found = append(found, cannotAct(c)...)
	found = append(found, unwatched(c.kubelet, all)...)
	if c.journald != nil {
		add(c.journald["SystemMaxUse"] == "" && c.journald["Storage"] != "volatile" && c.journald["Storage"] != "none", Finding{
			Reason: FindingJournalUnbudgeted, Severity: SeverityInfo, Path: "/etc/systemd/journald.conf",
			Message: "journald has no budget of its own: it takes up to 10% of its filesystem and 4 GiB, and does not shrink when others fill the disk",
			Do:      "set SystemMaxUse=, for example 1G, in /etc/systemd/journald.conf.d/50-size.conf and restart systemd-journald",
		})
	}
	for _, s := range c.rotated {
		add(s.copytruncate, Finding{
			Reason: FindingCopyTruncate, Severity: SeverityWarning, Path: s.file,
			Message: fmt.Sprintf("%s:%d rotates %s with copytruncate, which loses what is written between its copy and its truncation (7%% of the lines of a busy log)",
				s.file, s.line, strings.Join(s.patterns[:min(3, len(s.patterns))], " ")),
			Do: "rename and have the writer reopen (create, postrotate), or let nodetune rotate the file",
		})
	}
	if d := c.docker; d != nil {
		add((d.LogDriver == "json-file") && d.LogOpts["max-size"] == "", Finding{
			Reason: FindingDockerUnbounded, Severity: SeverityWarning, Path: "/etc/docker/daemon.json",
			Message: "Docker's json-file logs grow without bound: no max-size is set",
			Do:      `set "log-opts": {"max-size": "10m", "max-file": "5"} in /etc/docker/daemon.json; it holds for containers created from then on`,
		})
	}
	for _, f := range all {
		// ext4 keeps 5 % for root by default. df and the kubelet count it as
		// used, so a disk is full for pods long before it is full.
		add(f.Measured() && f.SizeBytes > 0 && percent(f.ReservedBytes, f.SizeBytes) >= 4, Finding{
			Reason: FindingReservedBlocks, Severity: SeverityInfo, Path: f.Path,
			Message: fmt.Sprintf("%s of %s are reserved for root: the kubelet counts them as used", Size(f.ReservedBytes), f.Path),
			Do:      fmt.Sprintf("'tune2fs -m 1 %s' gives most of it back, where nothing needs it", f.Source),
		})
	}
	return found
}

// unwatched finds filesystems with logs that no eviction of the kubelet looks
// at: they run full while it sees nothing.
func unwatched(k *Kubelet, all []Filesystem) []Finding {
	if k == nil {
		return nil
	}
	if !slices.ContainsFunc(all, func(f Filesystem) bool { return slices.Contains(f.Roles, RoleKubelet) }) {
		return []Finding{{
			Reason: FindingNotSeen, Severity: SeverityInfo, Path: k.RootDir,
			Message: fmt.Sprintf("%s cannot be seen: whether the kubelet watches the filesystems with logs, and when it evicts, is not known", k.RootDir),
			Do:      "mount it read-only below --path.rootfs, or the host's /proc with CAP_SYS_PTRACE",
		}}
	}
	var found []Finding
	for _, f := range all {
		if slices.Contains(f.Roles, RoleLogs) && !slices.Contains(f.Roles, RoleKubelet) && f.Measured() {
			found = append(found, Finding{
				Reason: FindingLogsUnwatched, Severity: SeverityWarning, Path: f.Path,
				Message: fmt.Sprintf("logs are on %s, and the kubelet watches the filesystem of %s only: it evicts nobody when %s is full", f.Path, k.RootDir, f.Path),
				Do:      "alert on nodetune's LogDiskPressure for it, and keep disk.pressure.availPercent above what a burst needs",
			})
		}
	}
	return found
}
