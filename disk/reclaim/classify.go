package reclaim

import (
	"path"
	"strings"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// place is what the path of a directory says about its files.
type place struct {
	dir       string
	kind      logs.Kind
	inPods    bool // below the directory of the kubelet's logs
	container bool // it holds the logs of a container
}

func placeOf(dir, pods string) place {
	_, inPods := hostfs.Below(dir, pods)
	return place{dir, logs.KindOf(dir), inPods, logs.IsContainerDir(pods, dir)}
}

// classOf returns the class that a file has by its place and name, and the log
// it belongs to. The directories of containers come first: a container may have
// any name. What the file has in it decides afterwards, see inspector.
func classOf(at place, name string) (c Class, log string) {
	switch {
	case isAudit(at.dir, name), isAccounting(name):
		return "", ""
	case at.inPods && !at.container:
		return "", "" // nothing of the kubelet's lies there
	case at.container:
	case name == ballastName:
		return ClassBallast, ""
	case at.kind == logs.KindJournal:
		// system@….journal is archived, system.journal~ was found broken, and
		// system.journal is being written.
		if strings.HasSuffix(name, ".journal~") || strings.Contains(name, "@") && strings.HasSuffix(name, ".journal") {
			return ClassJournal, ""
		}
		return "", ""
	case at.kind == logs.KindCore || mayBeCore(at.dir, name):
		return ClassCores, ""
	}
	base, old := archive.ParseName([]byte(name))
	if strings.HasSuffix(strings.TrimSuffix(name, "~"), ".journal") {
		return "", "" // an application's own
	}
	if !old || len(base) == 0 || !at.container && isData(at.dir, string(base)) {
		return "", ""
	}
	log = path.Join(at.dir, string(base))
	n := archive.SuffixLen([]byte(name))
	rest := strings.TrimPrefix(name[:len(name)-n], string(base)+".")
	_, stamped := archive.ParseTimestamp(rest)
	switch ours := stamped && len(rest) == len(archive.TimestampLayout)-1 && !at.container; {
	case ours && n > 0:
		return ClassArchives, log
	case ours:
		return ClassRotated, log
	case len(base) == len(name)-n: // neither a number nor a date
		return "", ""
	case n > 0 || !at.container:
		return ClassOtherArchives, log
	}
	return "", "" // the kubelet compresses it
}

// isAudit reports whether a file is an audit log, by its own name or that of a
// directory above it: nodetune takes none, whatever its class.
func isAudit(dir, name string) bool {
	return strings.Contains(strings.ToLower(dir), "/audit") || strings.Contains(strings.ToLower(name), "audit")
}

// isAccounting reports whether a file has records of logins, utmp(5), or is an
// archive of one.
func isAccounting(name string) bool {
	base := name
	if b, old := archive.ParseName([]byte(name)); old && len(b) > 0 {
		base = string(b)
	}
	switch base {
	case "wtmp", "btmp", "lastlog", "faillog", "tallylog", "utmp":
		return true
	}
	return strings.HasPrefix(base, "wtmp.") || strings.HasPrefix(base, "lastlog")
}

// isData reports whether the archives of base are more likely those of data than
// of a log: a backup has the same names.
func isData(dir, base string) bool {
	for part := range strings.SplitSeq(strings.ToLower(dir), "/") {
		switch strings.TrimSuffix(part, "s") {
		case "backup", "snapshot", "dump", "archive", "export":
			return true
		}
	}
	lower := strings.ToLower(base)
	if strings.Contains(lower, "backup") || strings.Contains(lower, "snapshot") {
		return true
	}
	for _, ext := range []string{".sql", ".db", ".dump", ".tar", ".bak", ".csv", ".img", ".iso", ".qcow2", ".rdb", ".bson", ".sqlite", ".wal", ".parquet"} {
		if strings.HasSuffix(lower, ext) {
			return true
		}
	}
	return false
}

// mayBeCore reports whether a file outside of the directories of core dumps may
// be one: named as the kernel names them, in a directory for them.
func mayBeCore(dir, name string) bool {
	switch path.Base(dir) {
	case "crash", "coredump", "coredumps", "cores":
		return name == "core" || strings.HasPrefix(name, "core.") || strings.HasPrefix(name, "core-") || strings.HasPrefix(name, "vmcore")
	}
	return false
}

// mayBeLog reports whether the file may be a log of lines that is being written:
// no archive, no journal, no dump, no log of a container, and no audit log.
func mayBeLog(at place, name string) bool {
	_, old := archive.ParseName([]byte(name))
	return !old && !at.inPods && !at.container && at.kind == logs.KindFile && !isAudit(at.dir, name) && !isAccounting(name)
}
