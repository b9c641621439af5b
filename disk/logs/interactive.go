package logs

import (
	"strings"

	"github.com/nodetune/nodetune/internal/workload"
)

// viewers are the comms of programs with which a person looks at a log or copies it, and
// of backups and virus scanners, which read it once. In a pod
// without a terminal, such as `kubectl exec POD -- tail -f`, the name is all that
// shows it. A process that takes such a name hides only its own stall.
var viewers = map[string]bool{
	"less": true, "more": true, "most": true, "pager": true, "lnav": true, "multitail": true,
	"tail": true, "head": true, "cat": true, "tac": true, "zcat": true, "zless": true,
	"grep": true, "egrep": true, "fgrep": true, "zgrep": true, "rg": true, "ag": true, "awk": true, "gawk": true, "mawk": true, "sed": true,
	"vi": true, "vim": true, "vim.basic": true, "vim.tiny": true, "nvim": true, "view": true, "nano": true, "emacs": true, "ed": true, "mcview": true,
	"watch": true, "wc": true, "hexdump": true, "xxd": true, "strings": true, "md5sum": true, "sha256sum": true,
	"cp": true, "scp": true, "rsync": true, "tar": true, "gzip": true, "zstd": true, "sftp-server": true,
	"crictl": true, "nerdctl": true, "ctr": true, "docker": true, "podman": true, "kubectl": true, "stern": true,
	"bat": true, "batcat": true, "tspin": true, "goaccess": true, "jq": true, "cut": true, "sort": true, "uniq": true, "od": true, "dd": true,
	"xz": true, "bzip2": true, "bzcat": true, "xzcat": true, "zstdcat": true, "lz4": true, "pigz": true, "sha1sum": true,
	"micro": true, "joe": true, "hx": true, "mcedit": true, "busybox": true, "toybox": true,
	"rclone": true, "restic": true, "borg": true, "kopia": true, "velero": true, "duplicity": true, "clamscan": true, "clamd": true,
	"bsdtar": true, "cpio": true, "zip": true, "7z": true, "7za": true, "rsnapshot": true, "rdiff-backup": true, "bacula-fd": true, "bareos-fd": true,
	"veeamagent": true, "dsmc": true, "urbackupclientb": true, "proxmox-backup-": true, // cut at 15 bytes, as each comm
	"clamonacc": true, "wdavdaemon": true, "savscand": true, "falcon-sensor": true, "ds_agent": true, "ds_am": true,
	"diff": true, "cmp": true, "split": true, "pv": true, "column": true, "nl": true, "find": true, "file": true, "updatedb": true,
	"strace": true, "gdb": true, "script": true,
}

// isInteractive reports whether a person runs the process: it has a controlling
// terminal or writes to one, it is in a login session, or it is a viewer.
func isInteractive(comm string, terminal bool, cgroup string) bool {
	return terminal || viewers[comm] || inLoginSession(cgroup)
}

// inLoginSession reports whether a cgroup is one that systemd makes for what a
// person starts: session-N.scope (pam_systemd(8)), and the scopes that terminals
// and desktops make below user.slice. A service of a user is no session.
func inLoginSession(cgroup string) bool {
	_, user, ok := strings.Cut(cgroup, "user.slice/")
	if !ok || workload.FromCgroupPath(cgroup).ContainerID != "" {
		return false
	}
	for part := range strings.SplitSeq(user, "/") {
		if strings.HasSuffix(part, ".scope") && part != "init.scope" {
			return true
		}
	}
	return false
}
